package evasion

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
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

// daemon is the rooms of the product, joined as cmd/snitch joins them. What they
// tell and ask goes through it, so that it can be slow or deaf.
type daemon struct {
	kernel  *bpf.Kernel
	hasher  *digest.Hasher
	table   *process.Table
	names   *dns.Names
	monitor *monitor.Monitor
	engine  *policy.Engine
	backend *verdict.Backend

	mu      sync.Mutex
	slow    time.Duration // that an answer takes
	deaf    bool          // the backend is not told of programs
	denials []event.Connection
	rows    []event.Connection
}

// newDaemon runs until the test ends.
func newDaemon(t testing.TB, cgroup *bpftest.Cgroup, pair *bpftest.Pair, held string) *daemon {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	d := &daemon{engine: policy.New(policy.Config{Mode: event.ModeEnforce}, policy.Deps{})}
	t.Cleanup(d.engine.Close)
	var err error
	losses := monitor.NewLosses()
	if d.hasher, err = digest.New(digest.Config{}, digest.Deps{Log: log, Loss: losses.Count}); err != nil {
		t.Fatal(err)
	}
	if d.table, err = process.New(process.Config{}, process.Deps{Hasher: d.hasher, Log: log, Loss: losses.Count}); err != nil {
		t.Fatal(err)
	}
	d.names = openNames(t, pair)
	if d.kernel, err = bpf.Load(bpf.Config{Tier: features.TierAuto, Cgroup: cgroup.Dir(), Filter: true}); err != nil {
		t.Fatal(err)
	}
	d.monitor = monitor.New(monitor.Config{DrainInterval: 20 * time.Millisecond},
		monitor.Deps{Kernel: d.kernel, Processes: d.table, Names: d.names, Losses: losses, Subjects: d, Sink: d.sink, Log: log})
	d.monitor.Follow(true)
	d.backend = verdict.New(verdict.Config{Programs: []string{held}},
		verdict.Deps{Decider: d, Recorder: d, Lookup: d.lookup, CatchUp: d.catchUp, Complete: d.complete, Log: log})
	d.run(t)
	return d
}

// run runs what runs, and closes all of it at the end.
func (d *daemon) run(t testing.TB) {
	t.Helper()
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
	run(d.hasher.Run)
	run(d.names.Run)
	run(d.beat)
	run(func(ctx context.Context) error { return d.monitor.Run(ctx, func() { close(ready) }) })
	t.Cleanup(func() {
		err := d.backend.Close(context.Background(), false)
		cancel()
		running.Wait()
		d.table.Close()
		if err := errors.Join(err, d.kernel.Close(), d.hasher.Close()); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatal("the monitor does not begin")
	}
}

// openNames knows one resolver, the permitted address of the peer, and no hosts.
func openNames(t testing.TB, pair *bpftest.Pair) *dns.Names {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	names, err := dns.New(dns.Config{HostsFile: write("hosts", ""), ResolvConf: write("resolv.conf", "nameserver "+bpftest.ServerV4.String()+"\n"),
		ResolvedConf: write("resolved.conf", ""), ResolvedSocket: filepath.Join(dir, "none"), NetNS: uint32(pair.Client.Inode())}, dns.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// beat says that the daemon is well.
func (d *daemon) beat(ctx context.Context) error {
	for tick := time.NewTicker(enforce.BeatEvery); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
			if err := d.backend.Beat(); err != nil {
				return err
			}
		}
	}
}

// sink keeps the record.
func (d *daemon) sink(b monitor.Batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows = append(d.rows, b.Connections...)
}

func (d *daemon) isDeaf() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.deaf
}

// Process is monitor.Subjects'.
func (d *daemon) Process(id event.ProcessID) {
	if d.isDeaf() {
		return
	}
	if p, lives := d.table.Running(id); lives {
		d.backend.Process(p)
	}
}

// Gone is monitor.Subjects'.
func (d *daemon) Gone(id event.ProcessID) { d.backend.Gone(id) }

func (d *daemon) lookup(id event.ProcessID) *event.Process {
	if d.isDeaf() {
		return nil
	}
	return d.table.Lookup(id)
}

func (d *daemon) catchUp(ctx context.Context) { _ = d.monitor.CatchUp(ctx) }

// complete adds what is known of the peer. The forbidden one is in Antarctica.
func (d *daemon) complete(c *event.Connection) {
	d.monitor.Complete(c)
	if addr := c.Remote.Addr(); addr == forbiddenV4 || addr == forbiddenV6 {
		c.Country = "AQ"
	}
}

// Decide answers as the rules say, after as long as it was told to take.
func (d *daemon) Decide(ctx context.Context, c *event.Connection) (rule.Decision, event.Decision) {
	d.mu.Lock()
	slow := d.slow
	d.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(slow):
	}
	return d.engine.Decide(ctx, c)
}

// Denied is enforce.Recorder's.
func (d *daemon) Denied(c *event.Connection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.denials = append(d.denials, *c)
}

// Alert is enforce.Recorder's.
func (d *daemon) Alert(event.Alert) {}

// forget begins a new record.
func (d *daemon) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.denials, d.rows = nil, nil
}

// hinder makes user space slow or deaf.
func (d *daemon) hinder(slow time.Duration, deaf bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow, d.deaf = slow, deaf
}

// deniedBy counts the recorded denials by rule.
func (d *daemon) deniedBy() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	by := map[string]int{}
	for i := range d.denials {
		by[d.denials[i].Decision.Rule]++
	}
	return by
}

// seen reports whether the monitor has recorded something like this.
func (d *daemon) seen(like func(*event.Connection) bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.rows {
		if like(&d.rows[i]) {
			return true
		}
	}
	return false
}
