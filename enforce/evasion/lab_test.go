package evasion

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

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
	testing.TB
	cgroup  *bpftest.Cgroup
	pair    *bpftest.Pair
	peer    *peer
	names   *dns.Names
	engine  *policy.Engine
	backend *verdict.Backend

	enforced bool // what the kernel knows of programs can be asked
	mu       sync.Mutex
	slow     time.Duration // that an answer takes
	denials  []event.Connection
	rows     []event.Connection
	told     map[event.ProcessID]*event.Process
}

func newLab(t testing.TB) *lab {
	t.Helper()
	bpftest.CheckDescriptors(t)
	l := &lab{TB: t, cgroup: bpftest.NewCgroup(t), pair: bpftest.NewPair(t), told: map[event.ProcessID]*event.Process{}}
	l.peer = newPeer(t, l.pair)
	l.engine = policy.New(policy.Config{Mode: event.ModeEnforce}, policy.Deps{})
	t.Cleanup(l.engine.Close)
	l.backend = verdict.New(verdict.Config{}, verdict.Deps{Decider: l, Recorder: l, Log: slog.New(slog.DiscardHandler), Complete: l.complete})
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
	log := slog.New(slog.DiscardHandler)
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
				l.Error(err)
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
			l.Error(err)
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
}

func (l *lab) tellLocked(p *event.Process) {
	if p.ID.Start != 0 && l.told[p.ID] != p {
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
  - {id: probe-denied, action: deny, process: any, to: {host: 192.0.2.1}}
  - {id: probe-allowed, action: allow, process: any, to: {host: 192.0.2.2}}
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
