package verdict

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"snitch/bpf"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// Config is what a Backend is made for.
type Config struct {
	Pins string // directory in a bpffs, named by the state directory: verdicts outlive the process there; "": they do not
	// Programs are where file systems are mounted whose programs are held until
	// they are classified; none: a new program's first datagram is undecided.
	Programs []string
	// Mounts are more of these, as they are now; it does not block. Nil: none.
	Mounts func() []string

	kernel bpf.VerdictConfig // tests: sizes of maps
}

// Deps are what a Backend asks and tells.
type Deps struct {
	Decider  enforce.Decider
	Recorder enforce.Recorder
	// Lookup is what is known of a process, also of one that is gone; nil when
	// nothing is. Nil: who was told of by Process is all there is.
	Lookup func(id event.ProcessID) *event.Process
	// CatchUp returns when everything was told that the kernel knows now, or when
	// ctx ends. Nil: it always was.
	CatchUp func(ctx context.Context)
	// Complete fills what is known of a connection beyond its ends: names,
	// country, novelty. It is called from several goroutines; nil: nothing is.
	Complete func(c *event.Connection)
	// Image is what a process will be once it runs the file, with the facts that
	// reads names as far as ctx allows; nil when that cannot be known yet. It is
	// called from several goroutines; nil: its path is all that is known.
	Image func(ctx context.Context, pid uint32, file *os.File, reads rule.Reads) *event.Process
	Log   *slog.Logger
}

// Backend is the cgroup BPF backend (enforce.Backend, Beater and Subjects).
// Its methods are safe for concurrent use.
type Backend struct {
	cfg     Config
	deps    Deps
	inbox   *inbox
	asks    chan ask
	putOff  *putOff
	denials chan bpf.VerdictEvent
	cuts    chan bpf.VerdictEvent

	// life is held for writing while the kernel side comes or goes, for reading
	// by Beat, which waits for nothing else.
	life sync.RWMutex

	mu      sync.Mutex
	kernel  *bpf.Verdicts // nil: nothing is in the kernel
	current *generation
	live    map[event.ProcessID]*subject
	pids    map[uint32]map[event.ProcessID]struct{} // of live
	preload *preload                                // nil: execs are not held
	desired enforce.Desired
	began   time.Time // when the kernel side was loaded
	refresh time.Time // when a rule expires, zero: never
	stop    context.CancelFunc
	running sync.WaitGroup
	stats   stats
}

// New makes a backend that has put nothing into the kernel.
func New(cfg Config, deps Deps) *Backend {
	deps.Log = deps.Log.With("component", "verdict")
	return &Backend{cfg: cfg, deps: deps, inbox: newInbox(), asks: make(chan ask, askQueue), putOff: newPutOff(),
		denials: make(chan bpf.VerdictEvent, denialQueue), cuts: make(chan bpf.VerdictEvent, cutQueue), live: map[event.ProcessID]*subject{},
		pids: map[uint32]map[event.ProcessID]struct{}{}}
}

// Set makes d hold. In audit mode nothing of the backend is left in the kernel.
func (b *Backend) Set(ctx context.Context, d enforce.Desired) error {
	if d.Mode != event.ModeEnforce {
		return b.remove(d)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kernel != nil && b.desired.Scope != d.Scope {
		if err := b.unloadLocked(false); err != nil {
			return err
		}
	}
	began := b.kernel == nil
	if began {
		if err := b.loadLocked(d.Scope); err != nil {
			return err
		}
	}
	if err := b.useLocked(ctx, d); err != nil {
		if began {
			err = errors.Join(err, b.unloadLocked(true))
		}
		return err
	}
	b.desired = d
	if !began {
		return nil
	}
	b.startLocked()
	b.preloadLocked()
	return nil
}

// preloadLocked begins to hold programs. One that cannot be held is judged when
// it connects: a worse first packet, not an open door.
func (b *Backend) preloadLocked() {
	if len(b.cfg.Programs) == 0 && b.cfg.Mounts == nil {
		return
	}
	p, err := newPreload(b, b.cfg.Programs)
	if err == nil {
		p.follow(b.cfg.Mounts)
	}
	b.preload = p
	b.problem("hold programs", err)
}

// loadLocked loads the kernel side, and takes over what an earlier process left.
func (b *Backend) loadLocked(scope string) error {
	cfg := b.cfg.kernel
	cfg.Cgroup, cfg.Pins = scope, b.cfg.Pins
	kernel, err := bpf.LoadVerdicts(cfg)
	if err != nil {
		return fmt.Errorf("load verdict programs: %w", err)
	}
	b.life.Lock()
	b.kernel = kernel
	b.life.Unlock()
	b.began = time.Now()
	return nil
}

// useLocked brings a policy into the kernel and flips to it.
func (b *Backend) useLocked(ctx context.Context, d enforce.Desired) error {
	now := time.Now()
	g, err := newGeneration(b.kernel, d.Policy, now)
	if err != nil {
		return err
	}
	if err := b.fillLocked(ctx, g); err != nil {
		return errors.Join(err, g.tables.Close())
	}
	b.kernel.SetDefaults(defaults(d))
	if err := errors.Join(b.kernel.Beat(), b.kernel.Flip(g.number, g.tables)); err != nil {
		return errors.Join(err, g.tables.Close())
	}
	old := b.current
	b.current, b.refresh = g, nextExpiry(d, now)
	if old != nil {
		b.problem("free old tables", old.tables.Close())
		b.problem("keep track of connections", b.kernel.Inherit())
	} else if err := b.attachLocked(); err != nil {
		b.current = nil
		return errors.Join(err, g.tables.Close())
	}
	b.cutLocked(ctx)
	return nil
}

// attachLocked has the programs judge from the moment on that each is in its
// place: it may take that of one of another version, whose maps are not these.
func (b *Backend) attachLocked() error {
	before := b.kernel.Enforcing()
	b.kernel.SetMode(true)
	if err := b.kernel.Attach(); err != nil {
		b.kernel.SetMode(before)
		return err
	}
	return nil
}

// fillLocked classifies all that live and stages the tables.
func (b *Backend) fillLocked(ctx context.Context, g *generation) error {
	kernelClass, err := g.class(factsOf(&event.Process{Name: "kernel", Executable: event.Executable{Kind: event.ExecutableKernel}}))
	if err != nil && !errors.Is(err, table.ErrFull) {
		return fmt.Errorf("classify the kernel: %w", err)
	}
	if g.number, err = b.kernel.Stage(g.tables, uint32(kernelClass)); err != nil {
		return err
	}
	b.learnLocked()
	for id, s := range b.live {
		if err := ctx.Err(); err != nil {
			return err
		}
		if b.current == nil { // what a process before this one knew holds until the flip
			if s.classes, _, err = b.kernel.Subject(verdictID(id)); err != nil {
				return err
			}
		}
		if err := b.publishLocked(g, s); err != nil && !errors.Is(err, table.ErrFull) {
			return fmt.Errorf("classify processes: %w", err)
		}
	}
	return nil
}

func defaults(d enforce.Desired) bpf.VerdictDefaults {
	undecided := bpf.VerdictAllow
	if d.Hold.AtDeadline == event.ActionDeny {
		undecided = bpf.VerdictDeny
	}
	return bpf.VerdictDefaults{BeatLimit: enforce.BeatTimeout, FailClosed: d.FailClosed, Undecided: undecided, Hold: d.Hold.Deadline}
}

// nextExpiry is when the tables need to be made anew: entries of an expired rule
// would ask for ever.
func nextExpiry(d enforce.Desired, now time.Time) (next time.Time) {
	soonest := func(at time.Time) {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for i := range d.Policy.Set.Rules {
		soonest(d.Policy.Set.Rules[i].Expires)
	}
	for i := range d.Policy.Set.Confine {
		soonest(d.Policy.Set.Confine[i].Expires)
	}
	return next
}

// remove takes everything out of the kernel, also what a process before this one
// left there.
func (b *Backend) remove(d enforce.Desired) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.desired = d
	if b.kernel != nil {
		return b.unloadLocked(false)
	}
	if b.cfg.Pins == "" {
		return nil
	}
	return bpf.RemoveVerdicts(b.cfg.Pins)
}

// unloadLocked ends the goroutines and the kernel side. It lets go of the lock
// for as long as the goroutines need it to end.
func (b *Backend) unloadLocked(leave bool) error {
	if b.stop != nil {
		b.stop()
		preload := b.preload
		b.stop, b.preload = nil, nil
		b.mu.Unlock()
		if preload != nil {
			b.problem("let programs go", preload.close())
		}
		b.running.Wait()
		b.mu.Lock()
	}
	b.life.Lock()
	kernel := b.kernel
	b.kernel = nil
	b.life.Unlock()
	if kernel == nil {
		return nil
	}
	var errs []error
	if b.current != nil {
		errs = append(errs, b.current.tables.Close())
		b.current = nil
	}
	if err := errors.Join(append(errs, kernel.Close(leave))...); err != nil {
		return fmt.Errorf("unload verdict programs: %w", err)
	}
	return nil
}

// Close ends the backend. With leave, what is pinned goes on judging, by the
// fail mode once the beat is missed.
func (b *Backend) Close(_ context.Context, leave bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	leave = leave && b.cfg.Pins != ""
	if leave && b.kernel != nil && !b.desired.FailClosed {
		d := defaults(b.desired)
		d.BeatLimit = enforce.HandOver
		b.kernel.SetDefaults(d)
	}
	return b.unloadLocked(leave)
}

// Beat says that the daemon is well. It neither waits for a Set nor allocates.
func (b *Backend) Beat() error {
	b.life.RLock()
	defer b.life.RUnlock()
	if b.kernel == nil {
		return nil
	}
	return b.kernel.Beat()
}
