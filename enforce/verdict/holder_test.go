package verdict

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
)

// holderRole is a daemon that can be killed: it denies port 9090 to all programs
// of a cgroup and beats. At SIGUSR1 it takes memory until it is stopped.
const (
	holderRole   = "holder"
	holderCgroup = "SNITCH_VERDICT_CGROUP"
	holderPins   = "SNITCH_VERDICT_PINS"
	holderClosed = "SNITCH_VERDICT_CLOSED"
	holderMore   = "SNITCH_VERDICT_MORE" // not empty: maps of another size
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
	hungry := make(chan os.Signal, 1)
	signal.Notify(hungry, unix.SIGUSR1)
	engine := policy.New(policy.Config{Mode: event.ModeEnforce}, policy.Deps{})
	set := rule.NewSet([]rule.Rule{{ID: "no-9090", Action: event.ActionDeny, Mode: event.ModeEnforce, Match: rule.Match{To: toPort(9090)}}}, nil, nil, nil)
	p, err := policy.Prepare(context.Background(), set, policy.Options{})
	if err != nil {
		return err
	}
	engine.Use(p)
	cfg := Config{Pins: os.Getenv(holderPins)}
	if os.Getenv(holderMore) != "" {
		cfg.kernel = bpf.VerdictConfig{Subjects: 4096, Decisions: 4096}
	}
	b := New(cfg, Deps{Decider: engine, Recorder: nobody{}, Log: slog.New(slog.DiscardHandler)})
	k, _, err := watch(b, os.Getenv(holderCgroup))
	if err != nil {
		return err
	}
	// As the daemon does: those that run already are known before the first flip.
	if err := tellRunning(b, k, os.Getenv(holderCgroup)); err != nil {
		return err
	}
	err = b.Set(context.Background(), enforce.Desired{Mode: event.ModeEnforce, Policy: p, FailClosed: os.Getenv(holderClosed) != "",
		Scope: os.Getenv(holderCgroup), Hold: enforce.HoldConfig{Deadline: time.Second, AtDeadline: event.ActionAllow}})
	fmt.Println("holds")
	for ; err == nil; err = b.Beat() {
		select {
		case <-hungry:
			eat()
		case <-time.After(enforce.BeatEvery):
		}
	}
	return err
}

// tellRunning tells of the processes that are in a cgroup now.
func tellRunning(b *Backend, k *bpf.Kernel, cgroup string) error {
	list, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
	if err != nil {
		return err
	}
	running := map[string]bool{}
	for pid := range strings.FieldsSeq(string(list)) {
		running[pid] = true
	}
	told := 0
	err = k.Processes(func(r *bpf.ExecRecord) {
		if running[strconv.Itoa(int(r.Id.Pid))] {
			b.Process(processOf(r))
			told++
		}
	})
	if err == nil && told < len(running) {
		err = fmt.Errorf("%d of %d processes of %s were told of", told, len(running), cgroup)
	}
	return err
}

// eat takes memory without end.
func eat() {
	for room := []byte{1}; ; {
		room = append(room, room...)
	}
}

// holder is the daemon that can be killed.
type holder struct {
	l    *lab
	cmd  *exec.Cmd
	gone bool
}

// pinsOf is where holders of a lab leave their verdicts; the test ends without
// them.
func (l *lab) pins() string {
	l.Helper()
	pins := filepath.Join("/sys/fs/bpf", "snitch-test-"+filepath.Base(l.cgroup.Dir()))
	l.Cleanup(func() {
		err := New(Config{Pins: pins}, Deps{Log: slog.New(slog.DiscardHandler)}).Set(context.Background(), enforce.Desired{Mode: event.ModeAudit})
		if err != nil {
			l.Error(err)
		}
		if _, err := os.Stat(pins); !errors.Is(err, os.ErrNotExist) {
			l.Errorf("pins are left: %v", err)
		}
	})
	return pins
}

// startHolder returns when the verdicts hold.
func (l *lab) startHolder(pins, closed string, env ...string) *holder {
	l.Helper()
	h := &holder{l: l, cmd: exec.Command("/proc/self/exe")}
	h.cmd.Env = append(os.Environ(), childEnv+"="+holderRole, holderCgroup+"="+l.cgroup.Dir(), holderPins+"="+pins, holderClosed+"="+closed)
	h.cmd.Env = append(h.cmd.Env, env...)
	h.cmd.Stderr = os.Stderr
	said, err := h.cmd.StdoutPipe()
	if err != nil {
		l.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(h.kill)
	if !bufio.NewScanner(said).Scan() {
		l.Fatal("the holder does not start")
	}
	return h
}

func (h *holder) signal(s syscall.Signal) {
	h.l.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.l.Error(err)
	}
}

// kill kills and joins it.
func (h *holder) kill() {
	if !h.gone {
		h.signal(unix.SIGKILL)
		h.join()
	}
}

// join waits until it has ended by SIGKILL.
func (h *holder) join() {
	h.l.Helper()
	h.gone = true
	err := h.cmd.Wait()
	if status, ok := h.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != unix.SIGKILL {
		h.l.Errorf("the holder ended with %v", err)
	}
}

// starve has the kernel kill it because it takes more memory than it may.
func (h *holder) starve(t *testing.T) {
	t.Helper()
	dir, limit := memoryGroup(t)
	if err := os.WriteFile(filepath.Join(dir, limit), []byte("32M"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, h.cmd.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
	h.signal(unix.SIGUSR1)
	h.join()
}

// memoryGroup makes a group of processes whose memory can be bounded.
func memoryGroup(t *testing.T) (dir, limit string) {
	t.Helper()
	root, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(filepath.Join(root, limit)); err != nil {
		root, limit = "/sys/fs/cgroup", "memory.max"
		on, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
		if err != nil || !strings.Contains(string(on), "memory") {
			t.Skipf("missing feature: memory controller: %s, %v", on, err)
		}
	}
	dir, err := os.MkdirTemp(root, "snitch-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { until(t, func() bool { return os.Remove(dir) == nil }) })
	return dir, limit
}

func until(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}

// patience is how long a test waits for what must come.
const patience = time.Minute
