package verdict

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/bpf/bpftest"
	"snitch/bpf/features"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
)

func addressOf(b *[16]byte) uintptr { return uintptr(unsafe.Pointer(b)) }

// lab is a backend whose scope is a cgroup of the test, a pair of network
// namespaces, and what it needs to know of processes.
type lab struct {
	monitor *bpf.Kernel
	testing.TB
	*Backend
	cgroup *bpftest.Cgroup
	pair   *bpftest.Pair
	engine *policy.Engine

	mu      sync.Mutex
	denials []event.Connection
	names   map[string]string // by address: trusted
	slow    time.Duration     // that it takes to know a name

	evaluate func(ctx context.Context, c *event.Connection) (rule.Decision, event.Decision) // nil: the engine
}

func (l *lab) Decide(ctx context.Context, c *event.Connection) (rule.Decision, event.Decision) {
	if l.evaluate != nil {
		return l.evaluate(ctx, c)
	}
	return l.engine.Decide(ctx, c)
}

func (l *lab) complete(c *event.Connection) {
	time.Sleep(l.slow)
	if name := l.names[c.Remote.Addr().String()]; name != "" {
		c.Name = event.Name{Domain: name, Source: event.NameDNS, Trusted: true, At: time.Now()}
		c.Names = []event.Name{c.Name}
	}
}

func (l *lab) Denied(c *event.Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials = append(l.denials, *c)
}

func (l *lab) Alert(event.Alert) {}

// denied waits until n denials of a rule were recorded.
func (l *lab) denied(id string, n int) {
	l.Helper()
	got := 0
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		got = 0
		for i := range l.denials {
			if l.denials[i].Decision.Rule == id && l.denials[i].Decision.Action == event.ActionDeny && l.denials[i].Result == event.ResultDenied {
				got++
			}
		}
		l.mu.Unlock()
		if got >= n {
			return
		}
	}
	l.Errorf("%d denials by %q were recorded, want %d", got, id, n)
}

func newLab(t testing.TB) *lab { return newLabOf(t, Config{}) }

func newLabOf(t testing.TB, cfg Config) *lab {
	t.Helper()
	bpftest.CheckDescriptors(t)
	l := &lab{TB: t, cgroup: bpftest.NewCgroup(t), pair: bpftest.NewPair(t)}
	l.engine = policy.New(policy.Config{Mode: event.ModeEnforce}, policy.Deps{})
	t.Cleanup(l.engine.Close)
	l.Backend = New(cfg, Deps{Decider: l, Recorder: l, Log: slog.New(slog.DiscardHandler), Complete: l.complete})
	t.Cleanup(func() {
		if err := l.Backend.Close(context.Background(), false); err != nil {
			t.Error(err)
		}
		l.unattached()
	})
	l.watch()
	l.beat()
	return l
}

// unattached waits until no program is attached: the kernel frees what was
// pinned in its own time.
func (l *lab) unattached() {
	l.Helper()
	err := l.cgroup.Unattached()
	for deadline := time.Now().Add(patience); err != nil && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err = l.cgroup.Unattached()
	}
	if err != nil {
		l.Error(err)
	}
}

// beat says that the daemon is well for as long as the test runs.
func (l *lab) beat() {
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for tick := time.NewTicker(enforce.BeatEvery); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				if err := l.Beat(); err != nil {
					l.Error(err)
				}
			}
		}
	})
	l.Cleanup(func() { close(stop); running.Wait() })
}

// watch tells the backend of programs that start.
func (l *lab) watch() {
	k, stop, err := watch(l.Backend, l.cgroup.Dir())
	if err != nil {
		l.Fatal(err)
	}
	l.monitor = k
	l.Cleanup(func() {
		if err := stop(); err != nil {
			l.Error(err)
		}
	})
}

// numberOf is how the kernel names a cgroup.
func numberOf(cgroup string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(cgroup, &st); err != nil {
		return 0, fmt.Errorf("look up cgroup: %w", err)
	}
	return st.Ino, nil
}

func watch(b *Backend, cgroup string) (k *bpf.Kernel, stop func() error, err error) {
	id, err := numberOf(cgroup)
	if err != nil {
		return nil, nil, err
	}
	k, err = bpf.Load(bpf.Config{Tier: features.TierAuto, Cgroup: cgroup, Filter: true})
	if err != nil {
		return nil, nil, err
	}
	var running sync.WaitGroup
	running.Go(func() {
		for !errors.Is(k.Poll(time.Second, func(raw []byte) { tell(b, raw, id) }), os.ErrClosed) {
		}
	})
	return k, func() error {
		err := k.Close()
		running.Wait()
		return err
	}, nil
}

func tell(b *Backend, raw []byte, cgroup uint64) {
	var r bpf.ExecRecord
	if len(raw) < int(unsafe.Sizeof(r)) || *(*uint16)(unsafe.Pointer(&raw[0])) != bpf.RecordExec {
		return
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r)), raw)
	if r.Cgroup == cgroup { // the machine may start others
		b.Process(processOf(&r))
	}
}

func processOf(r *bpf.ExecRecord) *event.Process {
	path := unix.ByteSliceToString(unsafe.Slice((*byte)(unsafe.Pointer(&r.Filename[0])), len(r.Filename)))
	return &event.Process{ID: event.ProcessID{PID: r.Id.Pid, Start: r.Id.Start, Exec: r.Id.Exec}, UID: r.Uid,
		Executable: event.Executable{Path: path, Kind: event.ExecutableFile}}
}

// set brings a policy; rules without a mode are enforced.
func (l *lab) set(confine []rule.Confine, rules ...rule.Rule) {
	l.Helper()
	l.apply(enforce.Desired{Hold: enforce.HoldConfig{Deadline: time.Second, AtDeadline: event.ActionAllow}}, confine, rules...)
}

func (l *lab) apply(d enforce.Desired, confine []rule.Confine, rules ...rule.Rule) {
	l.Helper()
	for i := range rules {
		rules[i].Mode = event.ModeEnforce
	}
	for i := range confine {
		confine[i].Mode = event.ModeEnforce
	}
	p, err := policy.Prepare(context.Background(), rule.NewSet(rules, confine, nil, nil), policy.Options{})
	if err != nil {
		l.Fatal(err)
	}
	l.engine.Use(p)
	d.Mode, d.Policy, d.Scope = event.ModeEnforce, p, l.cgroup.Dir()
	if err := errors.Join(l.Set(context.Background(), d), l.Beat()); err != nil {
		l.Fatal(err)
	}
}

// program is a child of a path of its own that does what it is told.
type program struct {
	l     *lab
	path  string
	stdin io.Writer
	lines *bufio.Scanner
	id    int
}

// start runs a copy of the test binary in the cgroup and the client's
// namespace, and waits until the backend knows it.
func (l *lab) start() *program {
	l.Helper()
	p := l.begin()
	for deadline := time.Now().Add(patience); !l.knows(p.id); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.Fatal("the backend does not know the program")
		}
	}
	return p
}

func (l *lab) begin() *program {
	l.Helper()
	path := l.TempDir() + "/prog"
	if err := place(path); err != nil {
		l.Fatal(err)
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), childEnv+"=1", "GODEBUG=multipathtcp=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		l.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.Fatal(err)
	}
	if err := bpftest.Start(cmd, bpftest.Place{Net: l.pair.Client, Cgroup: l.cgroup}); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			l.Error(err)
		}
	})
	p := &program{l: l, path: path, stdin: in, lines: bufio.NewScanner(out), id: cmd.Process.Pid}
	if !p.lines.Scan() {
		l.Fatal("the program does not start")
	}
	return p
}

// place puts the test's own program under another path.
func place(path string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if os.Link(self, path) == nil {
		return nil
	}
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o755)
}

func (l *lab) knows(pid int) bool {
	l.learn()
	l.Backend.mu.Lock()
	defer l.Backend.mu.Unlock()
	for id := range l.live {
		if int(id.PID) == pid {
			return true
		}
	}
	return false
}

// do has the program try something and returns its error.
func (p *program) do(what string, args ...any) (syscall.Errno, time.Duration) {
	p.l.Helper()
	errno, took, _ := p.count(what, args...)
	return errno, took
}

// count is do that also tells how much was tried.
func (p *program) count(what string, args ...any) (errno syscall.Errno, took time.Duration, tried int) {
	p.l.Helper()
	what = fmt.Sprintf(what, args...)
	if _, err := io.WriteString(p.stdin, what+"\n"); err != nil {
		p.l.Fatal(err)
	}
	var number, micros int
	if !p.lines.Scan() {
		p.l.Fatalf("%s: no answer", what)
	}
	if _, err := fmt.Sscan(p.lines.Text(), &number, &micros, &tried); err != nil || number < 0 {
		p.l.Fatalf("%s: %s", what, p.lines.Text())
	}
	return syscall.Errno(number), time.Duration(micros) * time.Microsecond, tried
}

// promptly is ten times what a call may take, for a machine that is that busy.
var promptly = bpftest.Patience(5 * time.Second)

// expect has the program try something that must end so, and promptly.
func (p *program) expect(want syscall.Errno, what string, args ...any) {
	p.l.Helper()
	got, took := p.do(what, args...)
	if got != want {
		p.l.Errorf("%s: %v, want %v", fmt.Sprintf(what, args...), got, want)
	}
	if took > promptly {
		p.l.Errorf("%s took %s", fmt.Sprintf(what, args...), took)
	}
}
