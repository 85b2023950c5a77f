package evasion

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/bpf/bpftest"
	"snitch/bpf/features"
	"snitch/enforce"
	"snitch/enforce/verdict"
	"snitch/monitor"
	"snitch/monitor/digest"
	"snitch/monitor/dns"
	"snitch/monitor/event"
	"snitch/monitor/process"
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
	names      *dns.Names
	engine     *policy.Engine
	backend    *verdict.Backend

	mac                string // of the peer
	held               string // a file system whose programs are held at exec
	good               string // a file that is another program than this one
	sha256, goodSHA256 string // of this program, and of that
	enforced           bool   // what the kernel knows of programs can be asked
	mu                 sync.Mutex
	slow               time.Duration // that an answer takes
	deaf               bool          // the backend is not told of programs
	denials            []event.Connection
	rows               []event.Connection
	told               map[event.ProcessID]*event.Process
}

func newLab(t testing.TB) *lab {
	t.Helper()
	bpftest.CheckDescriptors(t)
	l := &lab{TB: t, cgroup: bpftest.NewCgroup(t), pair: bpftest.NewPair(t), told: map[event.ProcessID]*event.Process{}}
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
	l.engine = policy.New(policy.Config{Mode: event.ModeEnforce}, policy.Deps{})
	t.Cleanup(l.engine.Close)
	l.held = ownFileSystem(t)
	l.backend = verdict.New(verdict.Config{Programs: []string{l.held}}, verdict.Deps{Decider: l, Recorder: l, Log: slog.New(slog.DiscardHandler), Complete: l.complete})
	t.Cleanup(func() {
		if err := l.backend.Close(context.Background(), false); err != nil {
			t.Error(err)
		}
	})
	l.watch()
	return l
}

// watch runs the monitor and the heartbeat for as long as the test does.
func (l *lab) watch() {
	l.Helper()
	t, log := l.TB, slog.New(slog.DiscardHandler)
	losses := monitor.NewLosses()
	hasher, err := digest.New(digest.Config{}, digest.Deps{Log: log, Loss: losses.Count})
	if err != nil {
		l.Fatal(err)
	}
	table, err := process.New(process.Config{}, process.Deps{Hasher: hasher, Log: log, Loss: losses.Count})
	if err != nil {
		l.Fatal(err)
	}
	l.names = l.openNames()
	kernel, err := bpf.Load(bpf.Config{Tier: features.TierAuto, Cgroup: l.cgroup.Dir(), Filter: true})
	if err != nil {
		l.Fatal(err)
	}
	m := monitor.New(monitor.Config{DrainInterval: 20 * time.Millisecond, EveryExec: true},
		monitor.Deps{Kernel: kernel, Processes: table, Names: l.names, Losses: losses, Sink: l.sink, Log: log})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(f func(context.Context) error) {
		running.Go(func() {
			if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	ready := make(chan struct{})
	run(hasher.Run)
	run(l.names.Run)
	run(l.beat)
	run(func(ctx context.Context) error { return m.Run(ctx, func() { close(ready) }) })
	l.Cleanup(func() {
		cancel()
		running.Wait()
		table.Close()
		if err := errors.Join(kernel.Close(), hasher.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case <-time.After(patience):
		l.Fatal("the monitor does not begin")
	}
}

// openNames knows one resolver, the permitted address of the peer, and no hosts.
func (l *lab) openNames() *dns.Names {
	l.Helper()
	dir := l.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			l.Fatal(err)
		}
		return path
	}
	names, err := dns.New(dns.Config{HostsFile: write("hosts", ""), ResolvConf: write("resolv.conf", "nameserver "+bpftest.ServerV4.String()+"\n"),
		ResolvedConf: write("resolved.conf", ""), ResolvedSocket: filepath.Join(dir, "none"), NetNS: uint32(l.pair.Client.Inode())}, dns.Deps{})
	if err != nil {
		l.Fatal(err)
	}
	return names
}

// beat says that the daemon is well.
func (l *lab) beat(ctx context.Context) error {
	for tick := time.NewTicker(enforce.BeatEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
			if err := l.backend.Beat(); err != nil {
				return err
			}
		}
	}
}

// sink keeps the record and tells the backend who lives.
func (l *lab) sink(b monitor.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.Execs {
		l.tellLocked(b.Execs[i].Process)
	}
	for i := range b.Connections {
		l.tellLocked(b.Connections[i].Process)
	}
	l.rows = append(l.rows, b.Connections...)
	for id := range l.told {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", id.PID)); err != nil {
			delete(l.told, id)
			l.backend.Gone(id)
		}
	}
}

func (l *lab) tellLocked(p *event.Process) {
	if p.ID.Start != 0 && l.told[p.ID] != p && !l.deaf {
		l.told[p.ID] = p
		l.backend.Process(p)
	}
}

// Decide answers as the rules say, after as long as the lab was told to take.
func (l *lab) Decide(ctx context.Context, c *event.Connection) (rule.Decision, event.Decision) {
	l.mu.Lock()
	slow := l.slow
	l.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(slow):
	}
	return l.engine.Decide(ctx, c)
}

// complete adds what is known of the peer's name, as the monitor does.
func (l *lab) complete(c *event.Connection) {
	for _, e := range l.names.Candidates(c.Process.ID, c.Cookie, c.Proto, c.Remote.Addr(), c.Opened) {
		e.Name.Trusted = e.Trustworthy()
		c.Names = append(c.Names, e.Name)
	}
	if len(c.Names) > 0 {
		c.Name = c.Names[0]
	}
	if addr := c.Remote.Addr(); addr == forbiddenV4 || addr == forbiddenV6 {
		c.Country = "AQ"
	}
}

func (l *lab) Denied(c *event.Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials = append(l.denials, *c)
}

func (l *lab) Alert(event.Alert) {}

// forget begins a new record.
func (l *lab) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.denials, l.rows = nil, nil
	l.peer.reset()
}

// hinder makes user space slow or deaf.
func (l *lab) hinder(slow time.Duration, deaf bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow, l.deaf = slow, deaf
}

// deniedBy counts the recorded denials by rule.
func (l *lab) deniedBy() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	by := map[string]int{}
	for i := range l.denials {
		by[l.denials[i].Decision.Rule]++
	}
	return by
}

// seen reports whether the monitor has recorded something like this.
func (l *lab) seen(like func(*event.Connection) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.rows {
		if like(&l.rows[i]) {
			return true
		}
	}
	return false
}

// set brings rules, which a head and the means to be known complete.
func (l *lab) set(rules string, undecided event.Action) {
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
	err = l.backend.Set(context.Background(), enforce.Desired{Mode: event.ModeEnforce, Policy: p, Scope: l.cgroup.Dir(),
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
