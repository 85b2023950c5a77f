package enforce

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
)

// kernel is a Backend that keeps what a kernel would: it outlives Controllers,
// and turns to its fail mode by itself without heartbeats.
type kernel struct {
	clock *clock

	mu     sync.Mutex
	held   Desired
	pinned bool // something denies
	beat   time.Duration
	broken bool // Set fails
	hangs  chan struct{}
	unheld []Unheld
	sets   []Desired
	closed []bool
}

var errBroken = errors.New("the kernel says no")

func (k *kernel) Set(ctx context.Context, d Desired) error {
	k.mu.Lock()
	hangs := k.hangs
	k.mu.Unlock()
	if hangs != nil {
		select {
		case <-hangs:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken {
		return errBroken
	}
	k.held, k.pinned, k.beat = d, d.Mode == event.ModeEnforce, k.clock.boot()
	k.sets = append(k.sets, d)
	return nil
}

func (k *kernel) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Status{Backend: "cgroup", Mode: k.held.Mode, FailClosed: k.held.FailClosed, Unheld: k.unheld}
}

func (k *kernel) Close(_ context.Context, leave bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = append(k.closed, leave)
	k.pinned = k.pinned && leave
	return nil
}

func (k *kernel) Beat() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.beat = k.clock.boot()
	return nil
}

// denies is what a program would meet now.
func (k *kernel) denies() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pinned && (k.held.FailClosed || k.clock.boot()-k.beat < BeatTimeout)
}

func (k *kernel) reboot() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held, k.pinned = Desired{}, false
}

func (k *kernel) hang(until chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hangs = until
}

func (k *kernel) breaks(broken bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = broken
}

// clock is CLOCK_BOOTTIME in the test's hand.
type clock struct {
	mu  sync.Mutex
	now time.Duration
}

func (c *clock) boot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += d
}

// host is what a Controller lives on, and outlives it.
type host struct {
	t      testing.TB
	dir    string
	boot   string
	clock  *clock
	kernel *kernel
	set    *rule.Set
	cfg    Config // beside what the host says

	mu     sync.Mutex
	alerts []event.Alert
	c      *Controller
}

func newHost(t testing.TB, set *rule.Set) *host {
	c := &clock{now: time.Hour}
	return &host{t: t, dir: quickDir(t), boot: "one", clock: c, kernel: &kernel{clock: c}, set: set}
}

// quickDir is a directory where syncing costs nothing, if there is one.
func quickDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "enforce-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the machine's next boot does
	return dir
}

// start is a daemon's start. The one before is gone, in order or not.
func (h *host) start() (*Controller, error) {
	cfg := h.cfg
	cfg.Dir, cfg.Boot = h.dir, h.boot
	cfg.Hold = HoldConfig{Deadline: 2 * time.Second, AtDeadline: event.ActionAllow}
	deps := Deps{Alert: h.alert, Clock: h.clock.boot, Log: slog.New(slog.DiscardHandler), Recompile: func() error { return h.compile(h.c) }}
	if h.kernel != nil {
		deps.Backend = h.kernel
	}
	h.c = New(cfg, deps)
	if err := h.compile(h.c); err != nil {
		return h.c, err
	}
	return h.c, h.c.Start(context.Background())
}

func (h *host) mustStart() *Controller {
	h.t.Helper()
	c, err := h.start()
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func (h *host) compile(c *Controller) error {
	set := h.set
	if p := c.Protected(); p != nil {
		var err error
		if set, err = p.Merge(set); err != nil {
			return err
		}
	}
	c.Use(context.Background(), &policy.Policy{Set: set})
	return nil
}

func (h *host) alert(a event.Alert) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.alerts = append(h.alerts, a)
}

// pulse is a turn of Run's two loops.
func (h *host) pulse() {
	h.c.Tick(context.Background())
	if h.c.mayBeat() {
		_ = h.kernel.Beat() // it cannot fail
	}
}

// pass lets time go by as it does under a daemon that lives.
func (h *host) pass(d time.Duration) {
	for ; d > 0; d -= BeatEvery {
		h.clock.pass(min(d, BeatEvery))
		h.pulse()
	}
}

func allowSome() *rule.Set {
	return rule.NewSet([]rule.Rule{
		{ID: "web", Action: event.ActionAllow, Mode: event.ModeEnforce, Match: rule.Match{To: &rule.EndpointMatch{Port: []rule.PortRange{{First: 443, Last: 443}}}}},
		{ID: "no-paste", Action: event.ActionDeny, Mode: event.ModeEnforce, Match: rule.Match{To: &rule.EndpointMatch{Port: []rule.PortRange{{First: 22, Last: 22}}}}},
	}, nil, nil, nil)
}

func confineAll() *rule.Set {
	s := allowSome()
	return rule.NewSet(s.Rules, []rule.Confine{{ID: "all", Mode: event.ModeEnforce}}, nil, nil)
}
