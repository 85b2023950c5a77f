package process

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// digests is a Hasher that reads the real files, late, from goroutines of its
// own.
type digests struct {
	wait  sync.WaitGroup
	delay time.Duration
}

func (h *digests) Executable(req event.HashRequest, done func(event.HashResult)) (event.HashResult, bool) {
	return h.later("/proc/"+strconv.Itoa(int(req.ID.PID))+"/exe", done)
}

func (h *digests) File(path string, done func(event.HashResult)) (event.HashResult, bool) {
	return h.later(path, done)
}

func (h *digests) later(path string, done func(event.HashResult)) (event.HashResult, bool) {
	h.wait.Go(func() {
		time.Sleep(h.delay)
		done(digestOf(path))
	})
	return event.HashResult{Reason: event.HashPending}, false
}

func digestOf(path string) event.HashResult {
	b, err := os.ReadFile(path)
	if err != nil {
		return event.HashResult{Reason: event.HashVanished}
	}
	return event.HashResult{SHA256: sha256.Sum256(b), Reason: event.HashKnown}
}

// losses counts what a table says it lost.
type losses struct {
	mu    sync.Mutex
	count map[event.LossCause]uint64
}

func (l *losses) add(c event.LossCause, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == nil {
		l.count = map[event.LossCause]uint64{}
	}
	l.count[c] += n
}

func (l *losses) of(c event.LossCause) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count[c]
}

// bench is a table on the real /proc.
type bench struct {
	*Table
	hasher *digests
	losses *losses
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{hasher: &digests{}, losses: &losses{}}
	var err error
	if b.Table, err = New(Config{}, Deps{Hasher: b.hasher, Loss: b.losses.add}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.hasher.wait.Wait()
		if n := b.openScripts.Load(); n != 0 {
			t.Errorf("%d descriptors of scripts are still open", n)
		}
		b.Close()
	})
	return b
}

// observed makes the record that the kernel would have made of a process that
// runs now: from /proc, by means that are not those of the package.
func observed(t testing.TB, pid int, execNumber uint32) event.Exec {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(pid)
	raw, err := os.ReadFile(dir + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	f := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	tick, _ := strconv.ParseUint(f[19], 10, 64)
	e := event.Exec{ID: event.ProcessID{PID: uint32(pid), Exec: execNumber, Start: tick*tickNanos + 4321}, Boot: bootNow()}
	comm, _ := os.ReadFile(dir + "/comm")
	e.Comm = strings.TrimSpace(string(comm))
	cmdline, _ := os.ReadFile(dir + "/cmdline")
	e.Args = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	e.Filename = e.Args[0]
	for name, to := range map[string]*uint32{"net": &e.NetNS, "mnt": &e.MountNS, "pid": &e.PIDNS} {
		link, err := os.Readlink(dir + "/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(link, name+":[%d]", to); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/exe", &st); err != nil {
		t.Fatal(err)
	}
	e.Links = uint32(st.Nlink)
	e.File = event.FileID{Dev: uint64(unix.Major(st.Dev))<<20 | uint64(unix.Minor(st.Dev)), Inode: st.Ino, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}
	e.MemFD = strings.HasPrefix(readlink(t, dir+"/exe"), "/memfd:") && st.Nlink == 0
	return e
}

func readlink(t testing.TB, path string) string {
	t.Helper()
	link, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// start runs a program that says "up" when it is what it should be.
func start(t testing.TB, cmd *exec.Cmd) int {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %v: %v", cmd.Args, err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "up" {
		t.Fatalf("%v said %q, %v", cmd.Args, line, err)
	}
	return cmd.Process.Pid
}

// shell is a copy of busybox: with "sh" as its name it runs what it is told.
func shell(t testing.TB, dir, name string) string {
	t.Helper()
	from, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("busybox (package busybox-static) is needed: %v", err)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, name)
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// waiting is a program that says "up" and waits for its standard input to end.
const waiting = "echo up; read x"

func command(path string, args ...string) *exec.Cmd {
	return &exec.Cmd{Path: path, Args: append([]string{"sh"}, args...)}
}

// settled waits for all digests and returns what the table then says of id.
func (b *bench) settled(id event.ProcessID) *event.Process {
	b.Lookup(id)
	b.hasher.wait.Wait()
	return b.Lookup(id)
}

func checkExe(t *testing.T, p *event.Process, path, view string, kind event.ExecutableKind, content event.Digest) {
	t.Helper()
	got := p.Executable
	if got.Path != path || got.View != view || got.Kind != kind {
		t.Errorf("executable is %q in view %q, %v; want %q in view %q, %v", got.Path, got.View, got.Kind, path, view, kind)
	}
	if got.SHA256 != content || got.Reason != event.HashKnown {
		t.Errorf("digest %v (%v), want %v", got.SHA256, got.Reason, content)
	}
}

func content(t testing.TB, path string) event.Digest {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

func startPiped(t *testing.T, cmd *exec.Cmd) *bufio.Reader {
	t.Helper()
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := bufio.NewReader(pipe)
	if line, err := r.ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("said %q, %v", line, err)
	}
	return r
}

func readPID(t *testing.T, r *bufio.Reader) int {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
