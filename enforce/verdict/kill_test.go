package verdict

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
)

// holderRole is a daemon that can be killed: it denies port 9090 to all programs
// of a cgroup and beats.
const (
	holderRole   = "holder"
	holderCgroup = "SNITCH_VERDICT_CGROUP"
	holderPins   = "SNITCH_VERDICT_PINS"
	holderClosed = "SNITCH_VERDICT_CLOSED"
)

func hold() {
	err := beatForEver()
	fmt.Fprintln(os.Stderr, "holder:", err)
	os.Exit(1)
}

// nobody records nothing.
type nobody struct{}

func (nobody) Denied(*event.Connection) {}
func (nobody) Alert(event.Alert)        {}

func beatForEver() error {
	engine := policy.New(policy.Config{Mode: event.ModeEnforce}, policy.Deps{})
	set := rule.NewSet([]rule.Rule{{ID: "no-9090", Action: event.ActionDeny, Mode: event.ModeEnforce, Match: rule.Match{To: toPort(9090)}}}, nil, nil, nil)
	p, err := policy.Prepare(context.Background(), set, policy.Options{})
	if err != nil {
		return err
	}
	engine.Use(p)
	b := New(Config{Pins: os.Getenv(holderPins)}, Deps{Decider: engine, Recorder: nobody{}, Log: slog.New(slog.DiscardHandler)})
	if _, err := watch(b, os.Getenv(holderCgroup)); err != nil {
		return err
	}
	err = b.Set(context.Background(), enforce.Desired{Mode: event.ModeEnforce, Policy: p, FailClosed: os.Getenv(holderClosed) != "",
		Scope: os.Getenv(holderCgroup), Hold: enforce.HoldConfig{Deadline: time.Second, AtDeadline: event.ActionAllow}})
	fmt.Println("holds")
	for ; err == nil; err = b.Beat() {
		time.Sleep(enforce.BeatEvery)
	}
	return err
}

// When the daemon is killed, what it denied stays denied until the beat is
// missed, and after that the fail mode holds; the next daemon finds and removes
// everything.
func TestKilled(t *testing.T) {
	for _, closed := range []string{"", "1"} {
		t.Run("closed="+closed, func(t *testing.T) {
			l := newLab(t)
			l.serve(8080)
			l.serve(9090)
			pins := filepath.Join("/sys/fs/bpf", "snitch-test-"+filepath.Base(l.cgroup.Dir()))
			t.Cleanup(func() {
				if err := New(Config{Pins: pins}, Deps{Log: slog.New(slog.DiscardHandler)}).Set(context.Background(), enforce.Desired{Mode: event.ModeAudit}); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(pins); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("pins are left: %v", err)
				}
			})
			kill := l.startHolder(pins, closed)
			known := l.begin()
			until(t, func() bool { errno, _ := known.do("udp %s:9090", bpftest.ServerV4); return errno == unix.EPERM })
			kill()
			known.expect(unix.EPERM, "tcp %s:9090", bpftest.ServerV4)
			known.expect(0, "tcp %s:8080", bpftest.ServerV4)
			time.Sleep(enforce.BeatTimeout + 100*time.Millisecond)
			want := unix.Errno(0)
			if closed != "" {
				want = unix.EPERM
			}
			unknown := l.begin()
			known.expect(want, "tcp %s:9090", bpftest.ServerV4)
			known.expect(0, "tcp %s:8080", bpftest.ServerV4)
			unknown.expect(want, "tcp %s:8080", bpftest.ServerV4)
			unknown.expect(want, "sendto %s:8080", bpftest.ServerV4)
		})
	}
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}

// startHolder starts the daemon that can be killed; kill kills and joins it.
func (l *lab) startHolder(pins, closed string) (kill func()) {
	l.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+holderRole, holderCgroup+"="+l.cgroup.Dir(), holderPins+"="+pins, holderClosed+"="+closed)
	cmd.Stderr = os.Stderr
	said, err := cmd.StdoutPipe()
	if err != nil {
		l.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	killed := false
	kill = func() {
		if killed {
			return
		}
		killed = true
		if err := cmd.Process.Kill(); err != nil {
			l.Error(err)
		}
		_ = cmd.Wait() // says that it was killed
	}
	l.Cleanup(kill)
	if !bufio.NewScanner(said).Scan() {
		l.Fatal("the holder does not start")
	}
	return kill
}
