package nft

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Config is what a Backend is made for.
type Config struct {
	Table   string // its name: Name of the state directory
	NetNS   int    // open descriptor of the network namespace, 0: the present one
	Cgroups string // where the cgroup v2 hierarchy is mounted
}

// Deps are what a Backend asks.
type Deps struct {
	Log *slog.Logger
	Now func() time.Time // by which rules expire
}

// Backend is enforce.Backend, Beater and Subjects on nftables. Its methods are
// safe for concurrent use.
type Backend struct {
	cfg  Config
	deps Deps

	beaten atomic.Bool                       // since the last tick
	named  atomic.Pointer[map[string]uint64] // used, which does not change once it is there
	look   chan struct{}                     // something may have changed: do not wait for the tick
	stop   context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	table   *table
	desired enforce.Desired
	layout  *layout // in the kernel; nil: there is no table
	used    map[string]uint64
	until   time.Time // when a rule of the table expires; zero: never
	past    map[string]Hits
	now     status
}

// status is what of enforce.Status changes.
type status struct {
	generation uint64
	limits     []enforce.Unheld
	problem    string
}

// tick is how often the backend looks after its table.
const tick = enforce.BeatEvery

// New opens nftables. The kernel is left as it is until the first Set, which
// also takes over or removes the table of a crashed predecessor.
func New(cfg Config, deps Deps) (*Backend, error) {
	table, err := openTable(cfg.Table, cfg.NetNS)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	b := &Backend{cfg: cfg, deps: deps, table: table, stop: stop, done: make(chan struct{}), look: make(chan struct{}, 1), past: map[string]Hits{}}
	go b.tend(ctx)
	return b, nil
}

// Set replaces the table by d's, or removes it in ModeAudit. Rules that it
// cannot honour are a *RefusedError, and what held before still holds.
func (b *Backend) Set(_ context.Context, d enforce.Desired) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d.Mode != event.ModeEnforce {
		hits := b.going()
		if err := b.table.remove(); err != nil {
			return err
		}
		b.gone(hits)
		b.desired, b.layout, b.used, b.now.limits, b.now.problem = d, nil, nil, nil, ""
		b.named.Store(nil)
		if d.Policy != nil { // what `enforce on` would meet
			b.now.limits = append(Refused(d.Policy.Set), Limits(d.Policy.Set)...)
		}
		return nil
	}
	if refused := Refused(d.Policy.Set); len(refused) > 0 {
		return &RefusedError{refused}
	}
	if d.Scope != "" && b.scope(d) == "" {
		return fmt.Errorf("scope %s is not below the cgroup hierarchy %s", d.Scope, b.cfg.Cgroups)
	}
	return b.apply(d)
}

// apply compiles d for this moment and puts it into the kernel.
func (b *Backend) apply(d enforce.Desired) error {
	now := b.deps.Now()
	layout, used := compile(frame{set: d.Policy.Set, now: now, cgroup: b.cgroupID, scope: b.scope(d), deadMan: !d.FailClosed})
	hits := b.going()
	var deadMan time.Duration
	if !d.FailClosed {
		deadMan = enforce.BeatTimeout
	}
	if err := b.table.replace(layout, deadMan); err != nil {
		return err
	}
	b.gone(hits)
	b.desired, b.layout, b.used, b.until = d, layout, used, nextExpiry(d.Policy.Set, now)
	b.named.Store(&used)
	b.now = status{generation: b.now.generation + 1, limits: Limits(d.Policy.Set)}
	return nil
}

// going reads the counters of the table that is about to go, for gone. What is
// counted between this and the swap is lost.
func (b *Backend) going() map[string]Hits {
	if b.layout == nil {
		return nil
	}
	hits, err := b.table.hits(b.layout)
	if err != nil {
		return nil // somebody removed the table, and the counters with it
	}
	return hits
}

// gone adds the counters of a table that went to those of its predecessors.
func (b *Backend) gone(hits map[string]Hits) {
	for note, h := range hits {
		b.past[note] = b.past[note].plus(h)
	}
}

// nextExpiry is when the first rule of set expires after now.
func nextExpiry(set *rule.Set, now time.Time) (next time.Time) {
	earlier := func(mode event.Mode, at time.Time) {
		if mode == event.ModeEnforce && at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for i := range set.Rules {
		earlier(set.Rules[i].Mode, set.Rules[i].Expires)
	}
	for i := range set.Confine {
		earlier(set.Confine[i].Mode, set.Confine[i].Expires)
	}
	return next
}

// scope is d.Scope as a path of the hierarchy, "" for all of it or none of it.
func (b *Backend) scope(d enforce.Desired) string {
	rel, err := filepath.Rel(b.cfg.Cgroups, d.Scope)
	if d.Scope == "" || err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.Join("/", rel)
}

// cgroupID is the number by which the kernel knows a cgroup, 0 if there is none.
func (b *Backend) cgroupID(path string) uint64 {
	if path != "/" && !filepath.IsLocal(strings.TrimPrefix(path, "/")) {
		return 0
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(b.cfg.Cgroups, path), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0
	}
	return st.Ino
}

// Hits are what each rule decided since the backend began, by the rules' ids.
func (b *Backend) Hits() (map[string]Hits, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := maps.Clone(b.past)
	if b.layout != nil {
		now, err := b.table.hits(b.layout)
		if err != nil {
			return nil, err
		}
		for note, h := range now {
			out[note] = out[note].plus(h)
		}
	}
	delete(out, noteDenied)
	delete(out, noteRoutes)
	return out, nil
}

// Status tells what the kernel has now.
func (b *Backend) Status() enforce.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := enforce.Status{Backend: "nft", Mode: event.ModeAudit, Generation: b.now.generation, Hold: "none", Unheld: b.now.limits, Problem: b.now.problem}
	s.Denied = b.past[noteDenied].Packets
	if b.layout == nil {
		return s
	}
	s.Mode, s.FailClosed, s.Revision, s.Entries = event.ModeEnforce, b.desired.FailClosed, b.desired.Policy.Set.Revision, b.layout.entries()
	for _, hook := range []string{chainOutput, chainInput} {
		s.Hooks = append(s.Hooks, fmt.Sprintf("nft inet %s %s priority %d", b.cfg.Table, hook, priority))
	}
	if hits, err := b.table.hits(&layout{chains: []*chain{{name: chainReject}}}); err == nil {
		s.Denied += hits[noteDenied].Packets
	}
	return s
}

// Close ends the backend. With leave the table stays: fail-open until the
// heartbeat runs out, fail-closed until somebody removes it.
func (b *Backend) Close(_ context.Context, leave bool) error {
	b.stop()
	<-b.done
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	switch {
	case !leave:
		err = b.table.remove()
	case b.layout != nil && !b.desired.FailClosed:
		err = b.table.beat(enforce.HandOver)
	}
	if closing := b.table.close(); err == nil && closing != nil {
		err = fmt.Errorf("close nftables: %w", closing)
	}
	return err
}

// Remove deletes the table of a daemon that is gone, if there is one.
func Remove(cfg Config) error {
	t, err := openTable(cfg.Table, cfg.NetNS)
	if err != nil {
		return err
	}
	defer t.close()
	return t.remove()
}
