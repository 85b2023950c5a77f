package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"snitch/bpf/bpftest"
)

// probe tries what each line of standard input says, "tcp ADDRESS", "udp ADDRESS",
// "keep ADDRESS" a connection, or "use -" it, and answers with the error number and how long it took.
func probe([]string) int {
	fmt.Println("up")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		network, address, _ := strings.Cut(lines.Text(), " ")
		began := time.Now()
		err := attempt(network, address)
		var errno syscall.Errno
		if err != nil && !errors.As(err, &errno) {
			fmt.Fprintln(os.Stderr, err)
			return exitNo
		}
		fmt.Println(int(errno), time.Since(began).Microseconds())
	}
	return exitDone
}

// kept is the connection of keep.
var kept net.Conn

func attempt(what, address string) (err error) {
	switch what {
	case "keep":
		if kept, err = net.Dial("tcp", address); err == nil {
			_, err = kept.Write([]byte("payload"))
		}
		return err
	case "use":
		_, err = kept.Write([]byte("more"))
		return err
	}
	return reach(what, address)
}

func reach(network, address string) error {
	c, err := net.DialTimeout(network, address, 20*time.Second)
	if err != nil {
		return err
	}
	_, err = c.Write([]byte("payload"))
	return errors.Join(err, c.Close())
}

// prober is a probe that runs.
type prober struct {
	t     *testing.T
	path  string
	pid   int
	stdin io.Writer
	lines *bufio.Scanner
}

// place puts the test binary under a path of its own.
func place(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Link(self, path) == nil {
		return path
	}
	data, err := os.ReadFile(self)
	if err == nil {
		err = os.WriteFile(path, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// startProbe runs path in its place.
func startProbe(t *testing.T, path string, at bpftest.Place) *prober {
	t.Helper()
	cmd := exec.Command(path)
	cmd.Args[0] = "probe"
	cmd.Env = append(os.Environ(), "GODEBUG=multipathtcp=0")
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bpftest.Start(cmd, at); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() }) // it may have been killed with its cgroup
	p := &prober{t: t, path: path, pid: cmd.Process.Pid, stdin: in, lines: bufio.NewScanner(out)}
	if !p.lines.Scan() {
		t.Fatal("the program does not start")
	}
	return p
}

// try has the program reach an address, and returns its error.
func (p *prober) try(network, address string) (syscall.Errno, time.Duration) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, network, address); err != nil {
		p.t.Fatal(err)
	}
	var errno, took int
	if !p.lines.Scan() {
		p.t.Fatalf("%s %s: no answer", network, address)
	}
	if _, err := fmt.Sscan(p.lines.Text(), &errno, &took); err != nil {
		p.t.Fatal(err)
	}
	return syscall.Errno(errno), time.Duration(took) * time.Microsecond
}

// expect is try that must end so, at once. A connect that was held, because the
// program was not known yet, is refused by cutting it.
func (p *prober) expect(want syscall.Errno, network, address string) {
	p.t.Helper()
	got, took := p.try(network, address)
	held := want == syscall.EPERM && network == "tcp" && got == syscall.ECONNABORTED
	if got != want && !held {
		p.t.Errorf("%s %s: %v, want %v", network, address, got, want)
	}
	if took > 2*time.Second {
		p.t.Errorf("%s %s took %s", network, address, took)
	}
}

// peer is a listener that counts who came. It runs outside of every scope.
type peer struct {
	net.Listener
	came chan struct{}
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &peer{Listener: l, came: make(chan struct{}, 1<<16)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.came <- struct{}{}
			go func() {
				_, _ = io.Copy(io.Discard, c) // until the other end is done, or cut
				_ = c.Close()
			}()
		}
	}()
	return p
}

func (p *peer) address() string { return p.Addr().String() }

func (p *peer) port() int { return p.Addr().(*net.TCPAddr).Port }
