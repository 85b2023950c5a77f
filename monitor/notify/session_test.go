package notify

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/notify/notifytest"
)

// session is a person's desktop, as the core sees it.
type session struct {
	*notifytest.Desktop
	t *testing.T
}

// newSession prepares a machine whose only seat is empty.
func newSession(t *testing.T) *session {
	t.Helper()
	return &session{notifytest.New(t, person), t}
}

func (s *session) logIn() *session {
	s.t.Helper()
	s.LogIn()
	return s
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
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{wordHelper, helperMark}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, os.Stderr
	s.Enter(cmd, person)
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
	cfg.Logind, cfg.Runtime = filepath.Join(s.Run, "systemd"), filepath.Join(s.Run, "user")
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

// helperMark is an argument that helpers do not read: they are found by it.
const helperMark = "helper-of-a-test"

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
		if err != nil || statErr != nil || !strings.HasSuffix(string(text), "\x00"+helperMark+"\x00") {
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
