package evasion

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
)

// patience is how long the lab waits for what must come.
const patience = 20 * time.Second

// lab is snitch as it denies, joined from its rooms, and what it is to guard: a
// cgroup and a network namespace of the test's own.
type lab struct {
	testing.TB // of the attempt under way; for the test's goroutine only
	cgroup     *bpftest.Cgroup
	pair       *bpftest.Pair
	peer       *peer
	*daemon

	mac                string // of the peer
	held               string // a file system whose programs are held at exec
	good               string // a file that is another program than this one
	sha256, goodSHA256 string // of this program, and of that
	enforced           bool   // what the kernel knows of programs can be asked
}

func newLab(t testing.TB) *lab {
	t.Helper()
	bpftest.CheckDescriptors(t)
	l := &lab{TB: t, cgroup: bpftest.NewCgroup(t), pair: bpftest.NewPair(t)}
	l.peer = newPeer(t, l.pair)
	mac, err := l.pair.MAC()
	if err != nil {
		t.Fatal(err)
	}
	l.mac = mac.String()
	l.good = filepath.Join(t.TempDir(), "good")
	if err := copySelf(l.good, goodMark); err != nil {
		t.Fatal(err)
	}
	l.sha256, l.goodSHA256 = sha256Of(t, "/proc/self/exe"), sha256Of(t, l.good)
	l.held = ownFileSystem(t)
	l.daemon = newDaemon(t, l.cgroup, l.pair, l.held)
	return l
}

// forget begins a new record.
func (l *lab) forget() {
	l.daemon.forget()
	l.peer.reset()
}

// set brings rules, which a head and the means to be known complete. A machine
// so busy that the heartbeat is late is to refuse what must be stopped, and to
// pass what must arrive.
func (l *lab) set(rules string, undecided event.Action, closed bool) {
	l.Helper()
	rules = "version: 1\n" + strings.TrimPrefix(rules, "\n") + `
  - {id: probe-denied, action: deny, process: any, to: {host: 10.77.0.66, port: 9}}
  - {id: probe-allowed, action: allow, process: any, to: {host: 10.77.0.2, port: 9}}
`
	loaded, err := rule.Parse("evasion.yaml", []byte(rules))
	if err != nil {
		l.Fatalf("%v in\n%s", err, rules)
	}
	p, err := policy.Prepare(context.Background(), loaded.Set, policy.Options{})
	if err != nil {
		l.Fatal(err)
	}
	l.engine.Use(p)
	l.enforced = true
	err = l.backend.Set(context.Background(), enforce.Desired{Mode: event.ModeEnforce, Policy: p, Scope: l.cgroup.Dir(), FailClosed: closed,
		Hold: enforce.HoldConfig{Deadline: time.Second, AtDeadline: undecided}})
	if err := errors.Join(err, l.backend.Beat()); err != nil {
		l.Fatal(err)
	}
}

// unset has nothing enforced.
func (l *lab) unset() {
	l.Helper()
	if err := l.backend.Set(context.Background(), enforce.Desired{Mode: event.ModeAudit}); err != nil {
		l.Fatal(err)
	}
	l.enforced = false
}

// serverPath is a name of the peer's network namespace.
func (l *lab) serverPath() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), l.pair.Server.Fd())
}

func sha256Of(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// ownFileSystem is a tmpfs of the test's own: nobody else runs programs there.
func ownFileSystem(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("snitch-test", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
