package evasion

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"snitch/bpf/bpftest"
)

// program is a copy of this binary that carries out orders, one at a time.
type program struct {
	testing.TB
	path  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // closed at its end
	end   sync.Once
}

// start runs a program of that path in the cgroup and the client's namespace,
// and waits until the kernel knows it.
func (l *lab) start(t testing.TB, path string) *program {
	t.Helper()
	p := &program{TB: t, path: path, lines: make(chan string, 64)}
	if err := placeSelf(path); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(path)
	p.cmd.Env = append(os.Environ(), roleEnv+"=1", "GODEBUG=multipathtcp=0")
	p.cmd.Stderr = os.Stderr
	var out io.ReadCloser
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err == nil {
		out, err = p.cmd.StdoutPipe()
	}
	if err == nil {
		err = bpftest.Start(p.cmd, bpftest.Place{Net: l.pair.Client, Cgroup: l.cgroup})
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(p.stop)
	if line := p.line(); line != "up" {
		t.Fatalf("%s begins with %q", path, line)
	}
	for deadline := time.Now().Add(patience); l.enforced && p.order(order{Part: "probe"}, nil) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the kernel does not know %s", path)
		}
	}
	return p
}

// stop ends the program; one that does not end by itself is killed.
func (p *program) stop() {
	p.end.Do(func() {
		p.stdin.Close()
		kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		defer kill.Stop()
		for range p.lines { // until its end
		}
		if err := p.cmd.Wait(); err != nil {
			p.Errorf("%s: %v", filepath.Base(p.path), err)
		}
	})
}

func (p *program) line() string {
	p.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.Fatalf("%s ended", p.path)
		}
		return line
	case <-time.After(patience):
		p.Fatalf("%s does not answer", p.path)
	}
	return ""
}

// failure is how an attempt ended, as its program says.
type failure struct {
	errno int
	text  string
}

func (f *failure) Error() string { return f.text }

// order has the program do something and returns how that failed; between runs
// each time it pauses.
func (p *program) order(o order, between func()) error {
	p.Helper()
	line, err := orderLine(o)
	if err != nil {
		p.Fatal(err)
	}
	if _, err := io.WriteString(p.stdin, line); err != nil {
		p.Fatal(err)
	}
	for {
		answer := p.line()
		switch word, rest, _ := strings.Cut(answer, " "); word {
		case "pause":
			if between != nil {
				between()
			}
			if _, err := io.WriteString(p.stdin, "go on\n"); err != nil {
				p.Fatal(err)
			}
		case "done":
			number, text, _ := strings.Cut(rest, " ")
			if text == "" {
				return nil
			}
			f := &failure{text: text}
			if _, err := fmt.Sscan(number, &f.errno); err != nil {
				p.Fatal(err)
			}
			return f
		default:
			p.Logf("%s: %s", filepath.Base(p.path), answer)
		}
	}
}

// placeSelf puts this program under another path.
func placeSelf(path string) error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	if err = os.Link(self, path); err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o755)
}
