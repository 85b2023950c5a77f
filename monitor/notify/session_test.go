package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// session is a person's log-in: a runtime directory, a real message bus and,
// when serve was called, a notification server.
type session struct {
	t      *testing.T
	dir    string
	logind string
	bus    *exec.Cmd
}

const busConfig = `<busconfig><type>session</type><listen>unix:path=%s/bus</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`

// newSession prepares a machine whose only seat is empty.
func newSession(t *testing.T) *session {
	t.Helper()
	s := &session{t: t, dir: busDir(RuntimeDirs, person), logind: t.TempDir()}
	for _, dir := range []string{"seats", "sessions"} {
		if err := os.Mkdir(filepath.Join(s.logind, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.logind, "seats", "seat0"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// logIn starts the bus and lets logind's files say that the person is there.
func (s *session) logIn() *session {
	s.t.Helper()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { os.RemoveAll(s.dir) })
	if err := os.Chown(s.dir, person, person); err != nil {
		s.t.Fatal(err)
	}
	config := filepath.Join(s.dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, s.dir), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.bus = exec.Command("/proc/self/exe", "notify-bus", config)
	s.bus.Stderr = os.Stderr
	s.bus.Env = []string{"PATH=" + os.Getenv("PATH")}
	s.bus.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.bus.Start(); err != nil {
		s.t.Fatalf("start dbus-daemon (package dbus): %v", err)
	}
	s.t.Cleanup(s.endBus)
	eventually(s.t, "the bus listens", func() bool { return checkBus(s.dir, person) == nil })
	text := fmt.Sprintf("# private\nUID=%d\nUSER=somebody\nACTIVE=1\nSTATE=active\nREMOTE=0\nTYPE=wayland\nCLASS=user\nSEAT=seat0\n", person)
	if err := os.WriteFile(filepath.Join(s.logind, "sessions", "c1"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func (s *session) endBus() {
	if s.bus.ProcessState == nil {
		_ = s.bus.Process.Kill()
		_ = s.bus.Wait()
	}
}

// server is a running notification server.
type server struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer

	mu  sync.Mutex
	got []notified
}

var fullServer = []string{"actions", "body", "body-markup", "persistence"}

func (s *session) serve(caps ...string) *server {
	s.t.Helper()
	cmd := asPerson(s.t, exec.Command("/proc/self/exe", append([]string{"notify-server"}, caps...)...))
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	srv := &server{t: s.t, cmd: cmd, in: in}
	read := make(chan struct{})
	go func() {
		defer close(read)
		dec := json.NewDecoder(out)
		for {
			var n notified
			if dec.Decode(&n) != nil {
				return
			}
			srv.mu.Lock()
			srv.got = append(srv.got, n)
			srv.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() { srv.end(); <-read })
	eventually(s.t, "the server serves", func() bool { return srv.calls() != nil })
	return srv
}

func (s *server) end() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// calls returns the calls of Notify so far, nil while it does not serve.
func (s *server) calls() []notified {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) == 0 {
		return nil
	}
	return append([]notified{}, s.got[1:]...)
}

// await returns the first n calls.
func (s *server) await(n int) []notified {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d toasts", n), func() bool { return len(s.calls()) >= n })
	return s.calls()
}

func (s *server) order(o order) {
	s.t.Helper()
	if err := json.NewEncoder(s.in).Encode(o); err != nil {
		s.t.Fatal(err)
	}
}

// spawn starts a real helper as the person. It stands for the broker, which
// has tests of its own.
func (s *session) spawn(_ context.Context, uid uint32) (net.Conn, error) {
	if uid != person {
		return nil, fmt.Errorf("a helper for user %d", uid)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	cmd := asPerson(s.t, exec.Command("/proc/self/exe", "notify-helper"))
	cmd.Stdin, cmd.Stdout = theirs, theirs
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	return net.FileConn(ours)
}

// pace is quick enough for tests and keeps the proportions.
var pace = Pace{Burst: 5, Refill: 10 * time.Second, Repeat: 200 * time.Millisecond, Settle: 100 * time.Millisecond, Pause: 50 * time.Millisecond}

// notifier runs one for the session until the test ends.
func (s *session) notifier(cfg Config, answer func(context.Context, Click) (Text, error)) *Notifier {
	s.t.Helper()
	cfg.Logind = s.logind
	if cfg.Look == 0 {
		cfg.Look = 50 * time.Millisecond
	}
	if cfg.Pace == (Pace{}) {
		cfg.Pace = pace
	}
	n := New(cfg, Deps{Spawn: s.spawn, Answer: answer})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("run: %v", err)
		}
	})
	return n
}

// helpers are the running helpers of the person, found by their arguments.
func helpers(t *testing.T) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range files {
		var pid int
		text, err := os.ReadFile(file)
		info, statErr := os.Stat(filepath.Dir(file))
		if err != nil || statErr != nil || !strings.HasSuffix(string(text), "\x00notify-helper\x00") {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != person {
			continue
		}
		if _, err := fmt.Sscanf(file, "/proc/%d/", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func signalHelpers(t *testing.T, sig syscall.Signal) {
	t.Helper()
	pids := helpers(t)
	if len(pids) == 0 {
		t.Fatal("no helper runs")
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}
