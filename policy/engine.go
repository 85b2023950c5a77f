package policy

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Config is what an Engine can be told.
type Config struct {
	Mode event.Mode // at first: see SetMode
}

// History answers what the record knew before a connection, and remembers it.
type History interface {
	// Novelty names what is new about c, in the words of rule.Novelty; later
	// snapshots of c keep what earlier ones got.
	Novelty(c *event.Connection) []string
}

// Deps are what an Engine asks.
type Deps struct {
	History History // nil: nothing is new
	Log     *slog.Logger
	Now     func() time.Time // nil: Clock
}

// Engine decides connections by the policy that it holds. Decide and Stats are
// safe for concurrent use; the ledger's methods are for one goroutine.
type Engine struct {
	deps   Deps
	ledger *ledger

	// deciding is held for reading by who decides: a policy is closed when
	// nobody uses it any more.
	deciding sync.RWMutex
	policy   *Policy
	mode     event.Mode // of decisions: caps what they may do

	mu    sync.Mutex
	stats Stats
}

// Stats are counters since the engine was made.
type Stats struct {
	Evaluated uint64        // decisions that OPA made
	Errors    uint64        // of these, that ended in the fall-back
	Undecided uint64        // rows that nobody will decide any more
	Late      int           // rows that wait for their decision
	Spent     time.Duration // in OPA
	Slowest   time.Duration
	Latency   Latency // of the decisions that OPA made
	Hits      uint64  // of the cache of the present policy
	Misses    uint64
	Cached    int
}

// New makes an engine that holds no policy yet: until Use, decisions are
// ActionNone.
func New(cfg Config, deps Deps) *Engine {
	if deps.Now == nil {
		deps.Now = NewClock().Now
	}
	return &Engine{mode: cfg.Mode, deps: deps, ledger: newLedger()}
}

// SetMode makes mode the one of every decision from now on, those included that
// the cache holds; decisions that the record has keep theirs.
func (e *Engine) SetMode(mode event.Mode) {
	e.deciding.Lock()
	defer e.deciding.Unlock()
	if e.mode == mode {
		return
	}
	e.mode = mode
	if e.policy != nil {
		e.policy.cache.clear()
	}
}

// Use makes p the policy of every decision from now on, waits for those under
// way, which end by the one that they began with, and closes that.
func (e *Engine) Use(p *Policy) {
	e.deciding.Lock()
	old := e.policy
	e.policy = p
	e.deciding.Unlock()
	if old != nil {
		old.Close()
	}
}

// Close ends what the policy in use has running. Nothing is decided after it.
func (e *Engine) Close() { e.Use(nil) }

// Policy is the one in use, nil before the first. A later Use may close it.
func (e *Engine) Policy() *Policy {
	e.deciding.RLock()
	defer e.deciding.RUnlock()
	return e.policy
}

// Decide answers for c, waiting for OPA if it must: the decision, and how the
// record keeps it.
func (e *Engine) Decide(ctx context.Context, c *event.Connection) (rule.Decision, event.Decision) {
	e.deciding.RLock()
	defer e.deciding.RUnlock()
	p := e.policy
	if p == nil {
		return rule.Decision{Action: event.ActionNone}, event.Decision{}
	}
	s := e.cached(p, c)
	if s == nil {
		s = e.evaluate(ctx, p, c)
	}
	return s.decision, s.recorded
}

// cached returns the decision if it is known, else nil.
func (e *Engine) cached(p *Policy, c *event.Connection) *seen {
	if p.reads.Novelty && len(c.Novelty) > 0 {
		return nil
	}
	who, peers := subjectOf(c), p.peers(c)
	s, known := p.cache.get(who, peers)
	if !known {
		p.cache.putSubject(who, p.subject(c))
		s, _ = p.cache.get(who, peers)
	}
	if s == nil || !s.decision.Until.IsZero() && !e.deps.Now().Before(s.decision.Until) {
		return nil
	}
	return s
}

func subjectOf(c *event.Connection) subjectKey {
	return subjectKey{c.Process, c.Cgroup.ID, c.UID}
}

// subject is the digest of what the rules read of a process and those above:
// made once a process.
func (p *Policy) subject(c *event.Connection) key {
	var buffer [512]byte
	facts := Facts(c)
	return p.cache.sum(p.reads.AppendSubjects(buffer[:0], &facts))
}

// peers is the digest of what they read beside it, made for every row: nothing
// of it leaves the stack.
func (p *Policy) peers(c *event.Connection) key {
	var (
		buffer [128]byte
		room   [4]rule.Name
	)
	facts := rule.Facts{Direction: c.Direction, Proto: protocol(c)}
	ends(&facts, c)
	if p.reads.From.Names || p.reads.To.Names {
		facts.From.Names, facts.To.Names = names(c, room[:0])
	}
	return p.cache.sum(p.reads.AppendPeers(buffer[:0], &facts))
}

// evaluate asks OPA and keeps the answer.
func (e *Engine) evaluate(ctx context.Context, p *Policy, c *event.Connection) *seen {
	facts := Facts(c)
	began := time.Now()
	s := &seen{decision: p.Decide(ctx, &facts, e.deps.Now())}
	s.recorded = recorded(&s.decision, e.mode, p.reads.Input(&facts))
	e.count(time.Since(began), s.decision.Error != "")
	if s.decision.Cacheable && (!p.reads.Novelty || len(c.Novelty) == 0) {
		p.cache.put(subjectOf(c), p.peers(c), s)
	}
	return s
}

func (e *Engine) count(took time.Duration, failed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Evaluated++
	e.stats.Spent += took
	e.stats.Latency.add(took)
	e.stats.Slowest = max(e.stats.Slowest, took)
	if failed {
		e.stats.Errors++
	}
}

// Stats is a copy of the counters.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	s := e.stats
	e.mu.Unlock()
	if p := e.Policy(); p != nil {
		s.Hits, s.Misses, s.Cached = p.cache.stats()
	}
	return s
}
