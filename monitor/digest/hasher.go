package digest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// Config bounds a Hasher. Zero fields mean the default.
type Config struct {
	Entries     int           // digests kept; 16,384
	MaxSize     int64         // bytes of a file that is read; 2 GiB
	Deadline    time.Duration // until HashDeadline is given; 5 s
	Queue       int           // requests without an answer; 1,024
	Workers     int           // files of prompt file systems read at a time; the processors, at most 4
	SlowWorkers int           // reads that wait for a server at a time, two for each file system; 16
	NoFanotify  bool          // run without
}

func (c Config) withDefaults() Config {
	set(&c.Entries, 16<<10)
	set(&c.MaxSize, 2<<30)
	set(&c.Deadline, 5*time.Second)
	set(&c.Queue, 1024)
	set(&c.Workers, min(runtime.GOMAXPROCS(0), 4))
	set(&c.SlowWorkers, 16)
	return c
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Deps are what a Hasher uses of the daemon.
type Deps struct {
	Log *slog.Logger
	// Loss is called for each file that got no digest and each overflow of
	// fanotify. It may be called from any goroutine and must not block.
	Loss func(event.LossCause, uint64)
}

// closeWithin bounds Close: a system call on a dead file system never ends.
const closeWithin = 1500 * time.Millisecond

// Hasher answers requests for digests. All methods may be called from any
// goroutine.
type Hasher struct {
	cfg       Config
	log       *slog.Logger
	loss      func(event.LossCause, uint64)
	mounts    *mounts
	groups    []*group // disks, overlays; empty without fanotify
	noGroups  string   // why groups is empty
	protected bool     // running programs cannot be written to
	pool      *pool
	reader    *reader
	count     counters
	stop      context.CancelFunc
	stopped   context.Context // ends at Close
	runs      sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	cache     *cache
	armed     int // entries armed since the last flush
	sightings sightings
	gap       uint64 // CLOCK_BOOTTIME up to which executions went unsighted
	flights   map[flightKey]*flight
	waiters   map[*waiter]struct{}
	parking   parking
}

// counters are read without the lock.
type counters struct {
	hits, misses, invalidations, overflows, missed, sightings, deadlines, discarded atomic.Uint64
	reasons                                                                         [event.HashUnknown + 1]atomic.Uint64
}

// New makes a Hasher and, where the kernel allows, its fanotify groups. Without
// fanotify it works and Stats says why it is missing.
func New(cfg Config, deps Deps) (*Hasher, error) {
	cfg = cfg.withDefaults()
	if deps.Log == nil || deps.Loss == nil {
		return nil, errors.New("make hasher: Log and Loss are required")
	}
	table, err := newMounts("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("make hasher: %w", err)
	}
	h := &Hasher{
		cfg: cfg, log: deps.Log.With("component", "digest"), loss: deps.Loss, mounts: table,
		protected: runningFilesAreWriteProtected(),
		pool:      newPool(cfg.Workers, cfg.SlowWorkers, 2*cfg.Queue, time.Second),
		reader:    newReader(cfg.MaxSize, cfg.Workers+cfg.SlowWorkers),
		flights:   make(map[flightKey]*flight),
		waiters:   make(map[*waiter]struct{}),
	}
	h.stopped, h.stop = context.WithCancel(context.Background())
	h.cache = newCache(cfg.Entries, h.forgotten)
	h.openGroups()
	return h, nil
}

// openGroups attaches fanotify to the file systems that can be reached without
// waiting for one; Run adds the others.
func (h *Hasher) openGroups() {
	if h.cfg.NoFanotify {
		h.noGroups = "switched off"
		return
	}
	for _, name := range []string{"disks", "overlays"} {
		g, err := newGroup(name)
		if err != nil {
			h.noGroups = err.Error()
			for _, g := range h.groups {
				_ = g.close()
			}
			h.groups = nil
			return
		}
		h.groups = append(h.groups, g)
	}
	if t := h.mounts.current(); t != nil {
		for _, m := range t.list {
			h.watchMount(m, true)
		}
	}
}

// groupOf is the group for files of family f, or nil.
func (h *Hasher) groupOf(f family) *group {
	switch {
	case len(h.groups) == 0 || !f.prompt():
		return nil
	case f == familyStacked:
		return h.groups[1]
	}
	return h.groups[0]
}

// watchMount marks the file system of a mount. With cached it never waits: a
// mount point may lie below a server that does not answer.
func (h *Hasher) watchMount(m mount, cached bool) {
	g := h.groupOf(m.family)
	if g == nil {
		return
	}
	handle, err := lookup(m.point, cached)
	if err == nil {
		err = g.watchPath(descriptorPath(handle))
		_ = unix.Close(handle)
	}
	if err != nil {
		h.log.Debug("file system not watched", "path", m.point, "error", err)
	}
}

// Run reads fanotify and follows the mounts until ctx ends or Close. Requests
// are answered without it too, but fanotify's descriptors are not used then.
func (h *Hasher) Run(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.runs.Add(1)
	h.mu.Unlock()
	defer h.runs.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.stopped, cancel)()
	var tasks sync.WaitGroup
	tasks.Go(func() { h.followMounts(ctx) })
	for i, g := range h.groups {
		tasks.Go(func() { h.serve(i, g) })
	}
	<-ctx.Done()
	tasks.Go(h.closeGroups)
	if !waitFor(&tasks, closeWithin) {
		return errors.New("stop hasher: a fanotify reader is stuck in a file system that does not answer")
	}
	return nil
}

// followMounts marks each file system that the host mounts. Without it the
// first executions on a new one are hashed from /proc alone.
func (h *Hasher) followMounts(ctx context.Context) {
	err := h.mounts.watch(ctx, func(t *mountTable) {
		for _, m := range t.list {
			h.watchMount(m, false)
		}
	})
	if err != nil {
		h.log.Error("mounts are no longer followed", "error", err)
	}
}

func (h *Hasher) serve(i int, g *group) {
	h.openGate(i)
	defer h.shutGate(i)
	err := g.serve(h, h.ticket, func(ticket uint64) { h.settle(i, ticket) })
	if err != nil {
		h.log.Error("fanotify stopped", "group", g.name, "error", err)
		h.mu.Lock()
		h.noGroups = fmt.Sprintf("%s stopped: %v", g.name, err)
		h.mu.Unlock()
		h.dropCache() // its modifications would go unseen
	}
}

// closeGroups takes the marks away. It may be called twice.
func (h *Hasher) closeGroups() {
	for _, g := range h.groups {
		if err := g.close(); err != nil {
			h.log.Debug("fanotify was closed before", "group", g.name, "error", err)
		}
	}
}

// Close answers every open request with HashDeadline, removes the fanotify
// marks and ends Run. It returns within two seconds, also when a file system
// does not answer; what is stuck there is left behind and reported.
func (h *Hasher) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	open := make([]*waiter, 0, len(h.waiters))
	for w := range h.waiters {
		open = append(open, w)
	}
	h.mu.Unlock()
	h.reader.stop.Store(true)
	h.pool.shut()
	h.stop()
	for _, w := range open {
		h.finish(w, event.HashResult{Reason: event.HashDeadline})
	}
	var rest sync.WaitGroup
	rest.Go(func() {
		h.closeGroups()
		h.runs.Wait()
		h.pool.wait()
		h.abandon()
		h.mounts.close()
	})
	if !waitFor(&rest, closeWithin) {
		return fmt.Errorf("close hasher: %d reads are stuck in a file system that does not answer", h.pool.busy())
	}
	return nil
}

// abandon ends the flights that never began. Nothing runs any more.
func (h *Hasher) abandon() {
	h.mu.Lock()
	left := make([]*flight, 0, len(h.flights))
	for _, f := range h.flights {
		left = append(left, f)
	}
	h.mu.Unlock()
	for _, f := range left {
		h.land(f, event.HashResult{Reason: event.HashDeadline}, false)
	}
}
