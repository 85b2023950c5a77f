package enforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"snitch/monitor/event"
	"snitch/policy"
)

// Config is what a Controller is told. It does not change.
type Config struct {
	Dir   string     // state directory, locked by this process
	Mode  event.Mode // of the configuration; invalid is audit
	Flag  event.Mode // --mode; invalid when it was not given
	Fail  Fail       // invalid is auto
	Hold  HoldConfig
	Scope string // cgroup directory, "" all
	// ProtectSSH protects the session of who turns enforcement on.
	ProtectSSH bool
	Helper     *Helper // of snitch, which is protected; nil: none
	Needs      []Need  // of snitch, likewise
	Boot       string  // boot_id
}

// Deps are what a Controller works with.
type Deps struct {
	Backend Backend // nil: this build or host has none
	// Recompile compiles the rules again, with what Protected then says, and
	// brings them to Use before it returns.
	Recompile func() error
	Alert     func(event.Alert)
	// Healthy reports whether the daemon does its work; heartbeats stop while it
	// does not. It does not block. Nil: it always does.
	Healthy func() bool
	// Clock is CLOCK_BOOTTIME; nil: the system's.
	Clock func() time.Duration
	Log   *slog.Logger
}

// Errors of changes.
var (
	ErrNoBackend = errors.New("nothing on this host can deny for snitch")
	ErrNoPolicy  = errors.New("no rules are loaded")
	ErrFlag      = errors.New("this run was started with --mode, which beats it")
	ErrArmed     = errors.New("enforcement waits to be confirmed")
	ErrNotArmed  = errors.New("nothing waits to be confirmed")
	ErrLockOut   = errors.New("everything is confined and no rule allows anything: the host would lose its network")
	ErrUnheld    = errors.New("there are rules that cannot be enforced here")
)

// setWithin bounds one change of the backend.
const setWithin = 30 * time.Second

// Controller decides what the backend is to do: the mode, the rules and what
// is protected. It is safe for concurrent use. What it tells the backend is a
// function of what is saved, the flag, the configuration, the panic file and
// the rules; so a restart comes to the same state.
type Controller struct {
	cfg  Config
	deps Deps

	changing sync.Mutex // held by on, off, confirm and panic, one at a time

	mu      sync.Mutex // guards what follows, and is held while the backend works
	saved   Saved
	coming  *Protected // of a mode that is about to be enforce
	stale   bool       // rules are compiled with what is not protected any more
	policy  *policy.Policy
	applied Desired // what the backend holds
	holds   bool    // the backend was told something, and took it
	retry   int     // ticks until a failed change is tried again
	failed  int     // tries that failed in a row
	problem string
	told    string // the problem that was alerted last
	closed  bool

	view     sync.Mutex // guards shown only, so that status never waits for a backend
	shown    Report
	beating  atomic.Bool  // heartbeats are wanted
	deadline atomic.Int64 // of the armed mode, ns of CLOCK_BOOTTIME; 0: not armed
	beats    atomic.Uint64
}

// New reads what is saved. A damaged file is told and not used: the
// configuration counts then, and nothing is armed.
func New(cfg Config, deps Deps) *Controller {
	if deps.Clock == nil {
		deps.Clock = bootTime
	}
	if deps.Healthy == nil {
		deps.Healthy = func() bool { return true }
	}
	if cfg.Mode == event.ModeInvalid {
		cfg.Mode = event.ModeAudit
	}
	if cfg.Fail == FailInvalid {
		cfg.Fail = FailAuto
	}
	c := &Controller{cfg: cfg, deps: deps}
	saved, err := Load(cfg.Dir)
	if err != nil {
		c.report(err)
	}
	c.saved = saved
	c.watchDeadline()
	c.show()
	return c
}

// Start brings the backend to the state that was left, before the daemon says
// that it is ready and after Use had the first rules. A mode that was not
// confirmed in time is rolled back first. On an error the Controller goes on
// trying in Run.
func (c *Controller) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.show()
	c.follow()
	if mode, _ := c.mode(); mode == event.ModeEnforce && c.deps.Backend == nil {
		c.report(ErrNoBackend)
		return ErrNoBackend
	}
	return c.apply(ctx)
}

// Run beats and watches deadlines until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	var beating sync.WaitGroup
	beating.Go(func() { c.beat(ctx) })
	defer beating.Wait()
	for {
		wait := BeatEvery
		if at := c.deadline.Load(); at != 0 {
			wait = max(min(wait, time.Duration(at)-c.deps.Clock()), time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			c.Tick(ctx)
		}
	}
}

// beat tells the kernel side that the daemon is well. It has a goroutine of its
// own and takes no lock that a backend's work holds: loading many rules is no
// reason to look dead.
func (c *Controller) beat(ctx context.Context) {
	b, ok := c.deps.Backend.(Beater)
	if !ok {
		return
	}
	tick := time.NewTicker(BeatEvery)
	defer tick.Stop()
	for {
		if c.mayBeat() {
			if err := b.Beat(); err != nil {
				c.deps.Log.Error("no heartbeat: the kernel goes to its fail mode by itself", "component", "enforce", "error", err)
			}
			c.beats.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// mayBeat: a mode whose time to be confirmed has passed gets no heartbeat even
// if the backend hangs and cannot be told. It fails open then: armed modes do.
func (c *Controller) mayBeat() bool {
	at := c.deadline.Load()
	return c.beating.Load() && (at == 0 || int64(c.deps.Clock()) < at) && c.deps.Healthy()
}

// Tick does what is due: it rolls back, follows the panic file, tries again
// what failed, and lets the fail mode follow rules that expire. Run calls it.
func (c *Controller) Tick(ctx context.Context) {
	if c.tick(ctx) {
		c.recompile()
	}
}

// tick reports whether rules are to be compiled again.
func (c *Controller) tick(ctx context.Context) (stale bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	defer c.show()
	ended := c.follow()
	if c.retry > 0 && !ended && !Panicked(c.cfg.Dir) {
		c.retry--
		return false
	}
	if err := c.apply(ctx); err == nil && c.deps.Backend != nil {
		c.problem, c.told = "", ""
	}
	stale, c.stale = c.stale, false
	return stale
}

// recompile leaves out what is not protected any more. The caller does not hold
// mu: what it leads to comes back to Use.
func (c *Controller) recompile() {
	if err := c.deps.Recompile(); err != nil {
		c.deps.Log.Warn("the rules still have those that were added for enforcement", "component", "enforce", "error", err)
	}
}

// Use makes p the rules that the backend enforces. policy.Manager calls it with
// every policy that came into use, protected rules merged in.
func (c *Controller) Use(ctx context.Context, p *policy.Policy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policy = p
	if c.closed || !c.holds {
		c.show()
		return // Start comes first
	}
	_ = c.apply(ctx) // told, and tried again
	c.show()
}

// Protected is what to merge into the rules before they are compiled; nil while
// nothing is denied.
func (c *Controller) Protected() *Protected {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.coming != nil {
		return c.coming
	}
	if mode, _ := c.mode(); mode != event.ModeEnforce {
		return nil
	}
	return c.protected(c.saved.Sessions)
}

func (c *Controller) protected(sessions []Session) *Protected {
	return &Protected{Helper: c.cfg.Helper, Needs: c.cfg.Needs, Sessions: sessions}
}

// Close ends the backend. With a confirmed mode that fails closed, and when
// another snitch takes over (upgrade), what is pinned stays; else nothing does.
func (c *Controller) Close(ctx context.Context, upgrade bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.deps.Backend == nil {
		c.closed = true
		return nil
	}
	c.closed = true
	c.beating.Store(false)
	leave := c.applied.Mode == event.ModeEnforce && c.saved.Armed == nil && (c.applied.FailClosed || upgrade)
	if err := c.deps.Backend.Close(ctx, leave); err != nil {
		return fmt.Errorf("end enforcement: %w", err)
	}
	return nil
}
