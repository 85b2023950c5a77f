package policy

import (
	"context"
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// How much of the monitor's time OPA may take: decisions that do not fit wait
// for the next batch, rows never do.
const (
	share   = 4 // one part in four of the time that passes
	allowed = 200 * time.Millisecond
)

// patience is how long an alert waits for the facts of its connection.
const patience = time.Minute

// Outcome is what a batch led to, for the record.
type Outcome struct {
	Late   []event.Connection // rows of earlier batches, decided now
	Alerts []event.Alert
	Causes []Cause // of the alerts that connections led to
	Counts []event.RuleCount
	// Decided is what was decided, by action and winning rule.
	Decided []Decided
}

// Cause is the connection that led to an alert: with it, it can be explained.
type Cause struct {
	Alert      event.AlertKey
	Connection event.Connection
	Custom     []rule.CustomVote // what custom modules said of it
	At         time.Time         // of the decision
}

// ledger remembers what was decided for the connections that are open, so that
// each is counted and told once. The goroutine of Batch owns it.
type ledger struct {
	rows    map[uint64]*row
	late    late
	credit  time.Duration
	filled  time.Time
	counts  map[string]*event.RuleCount
	decided map[decidedKey]uint64
}

// row is one open connection.
type row struct {
	first, last *seen // decisions; first is the one that was recorded first
	at          time.Time
	novelty     []string
	final       bool   // novelty was judged with every fact there
	told        string // the rule that an alert was raised for
	alerted     bool
	imposed     bool // so was one for what the kernel did of its own
}

func newLedger() *ledger {
	return &ledger{rows: map[uint64]*row{}, late: newLate(), credit: allowed, counts: map[string]*event.RuleCount{}, decided: map[decidedKey]uint64{}}
}

// refill adds the time that OPA may take.
func (l *ledger) refill(now time.Time) {
	if !l.filled.IsZero() {
		l.credit = min(allowed, l.credit+now.Sub(l.filled)/share)
	}
	l.filled = now
}

// Batch decides the rows of conns in place, and some that earlier batches had
// no time for. One goroutine calls it.
func (e *Engine) Batch(ctx context.Context, conns []event.Connection) Outcome {
	var out Outcome
	e.deciding.RLock()
	defer e.deciding.RUnlock()
	p := e.policy
	if p == nil {
		return out
	}
	e.ledger.refill(time.Now())
	for i := range conns {
		if e.ledger.late.drop(conns[i].ID); conns[i].Closed {
			e.ledger.late.closed++
		}
		e.one(ctx, p, &conns[i], &out)
	}
	e.catchUp(ctx, p, &out)
	for id, count := range e.ledger.counts {
		out.Counts = append(out.Counts, *count)
		delete(e.ledger.counts, id)
	}
	for key, n := range e.ledger.decided {
		out.Decided = append(out.Decided, Decided{key.action, key.rule, n})
	}
	clear(e.ledger.decided)
	e.mu.Lock()
	e.stats.Late = len(e.ledger.late.rows)
	e.mu.Unlock()
	return out
}

// catchUp decides rows of earlier batches as long as there is time.
func (e *Engine) catchUp(ctx context.Context, p *Policy, out *Outcome) {
	for range lateWork {
		if e.ledger.credit <= 0 {
			return
		}
		c, lost := e.ledger.late.take()
		switch {
		case c == nil:
			return
		case lost:
			e.giveUp(c)
		case e.one(ctx, p, c, out):
			out.Late = append(out.Late, *c)
		}
	}
}

// giveUp leaves a row undecided for ever.
func (e *Engine) giveUp(c *event.Connection) {
	if c.Closed {
		delete(e.ledger.rows, c.ID)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Undecided++
}

// one decides one row, or postpones it and returns false.
func (e *Engine) one(ctx context.Context, p *Policy, c *event.Connection, out *Outcome) bool {
	r := e.ledger.rows[c.ID]
	if r == nil {
		r = &row{}
		e.ledger.rows[c.ID] = r
	}
	imposed := refused(c)
	provisional := imposed == nil && !c.Closed && c.Process.Waits() && e.deps.Now().Sub(c.Opened) < patience
	e.novelty(r, c, !provisional)
	s := e.cached(p, c)
	if s == nil && e.ledger.credit > 0 {
		began := time.Now()
		s = e.evaluate(ctx, p, c)
		e.ledger.credit -= time.Since(began)
	}
	if s == nil {
		e.postpone(r, c)
		return false
	}
	c.Decision = e.settle(p, r, c, s, provisional, out)
	if imposed != nil && c.Decision.Action != event.ActionDeny {
		e.impose(r, c, imposed, out)
	}
	if c.Closed {
		delete(e.ledger.rows, c.ID)
	}
	return true
}

// novelty asks what is new about a connection until its facts are complete.
func (e *Engine) novelty(r *row, c *event.Connection, final bool) {
	if e.deps.History != nil && !r.final {
		r.novelty, r.final = e.deps.History.Novelty(c), final
	}
	c.Novelty = r.novelty
}

// postpone keeps a copy of a row that OPA had no time for.
func (e *Engine) postpone(r *row, c *event.Connection) {
	switch {
	case refused(c) != nil:
	case r.last != nil:
		c.Decision = r.record(c, false)
	default:
		c.Decision = event.Decision{Action: event.ActionUndecided, Would: event.ActionUndecided, Mode: e.mode}
	}
	if !e.ledger.late.put(c) {
		e.giveUp(c)
	}
}

// settle returns the decision for the record, counts it and tells it, the latter
// once all facts are there: a digest that is still being read may change it.
func (e *Engine) settle(p *Policy, r *row, c *event.Connection, s *seen, provisional bool, out *Outcome) event.Decision {
	if r.last == nil || differ(r.last, s) {
		if r.first == nil {
			r.first = s
		}
		r.last, r.at = s, e.deps.Now()
		e.ledger.count(s, r.at)
	}
	record := r.record(c, provisional)
	d := &s.decision
	if provisional || d.Action != event.ActionAlert && d.Action != event.ActionDeny || r.alerted && r.told == d.Rule {
		return record
	}
	r.alerted, r.told = true, d.Rule
	alert := event.NewAlert(p.alertKind(d), d.Rule, d.Action, d.Reason, r.at, c)
	cause := Cause{Alert: alert.Key(), Connection: *c, Custom: customVotes(d), At: r.at}
	cause.Connection.Decision = record
	out.Alerts = append(out.Alerts, alert)
	out.Causes = append(out.Causes, cause)
	if d.Error != "" {
		out.Alerts = append(out.Alerts, event.NewAlert(event.AlertError, "evaluator", d.Action, d.Error, r.at, nil))
	}
	for _, name := range d.Degraded {
		out.Alerts = append(out.Alerts, event.NewAlert(event.AlertError, "custom."+name, d.Action, "the custom rules of "+name+" did not answer", r.at, nil))
	}
	return record
}

// refused is the decision by which the kernel refused c, nil if it did not.
func refused(c *event.Connection) *event.Decision {
	if c.Result != event.ResultDenied || c.Decision.Action != event.ActionDeny {
		return nil
	}
	d := c.Decision
	return &d
}

// impose records what the kernel did although the rules, as they are and with
// what is known by now, do not say so: nobody decided in time, say.
func (e *Engine) impose(r *row, c *event.Connection, d *event.Decision, out *Outcome) {
	d.Would, d.Matches = c.Decision.Would, c.Decision.Matches
	d.Input = 0 // what the rules saw says nothing about it: it is not replayed
	c.Decision = *d
	if r.imposed {
		return
	}
	r.imposed = true
	out.Alerts = append(out.Alerts, event.NewAlert(event.AlertRule, d.Rule, event.ActionDeny, d.Reason, d.At, c))
}

// customVotes are the votes of custom modules in a decision.
func customVotes(d *rule.Decision) (votes []rule.CustomVote) {
	for i := range d.Matches {
		if m := &d.Matches[i]; strings.HasPrefix(m.ID, "custom.") {
			votes = append(votes, rule.CustomVote{ID: m.ID, Action: m.Action, Reason: m.Reason, Pos: m.Pos})
		}
	}
	return votes
}

// record is the decision as the row of c keeps it: the rules deny, but whether
// anything was denied is the kernel's to say.
func (r *row) record(c *event.Connection, provisional bool) event.Decision {
	d := r.last.recorded
	d.At, d.Provisional = r.at, provisional
	if d.Action == event.ActionDeny && c.Result != event.ResultDenied {
		d.Action, d.Capped = event.ActionAlert, true
	}
	if differ(r.first, r.last) {
		d.Previous = &r.first.recorded
	}
	return d
}

func differ(a, b *seen) bool {
	return a != b && (a.decision.Action != b.decision.Action || a.decision.Rule != b.decision.Rule ||
		a.decision.Revision != b.decision.Revision || a.recorded.Input != b.recorded.Input)
}

// count adds what a decision says about the rules that took part.
func (l *ledger) count(s *seen, at time.Time) {
	l.decided[decidedKey{s.decision.Action, s.decision.Rule}]++
	for i := range s.decision.Matches {
		m := &s.decision.Matches[i]
		n := l.counts[m.ID]
		if n == nil {
			n = &event.RuleCount{Rule: m.ID}
			l.counts[m.ID] = n
		}
		add := event.RuleCount{Rule: m.ID, Hits: 1, Last: at}
		if m.ID == s.decision.Rule {
			add.Wins = 1
		}
		wouldOnly := m.Mode == event.ModeAudit || s.recorded.Mode == event.ModeAudit
		switch {
		case m.Action == event.ActionDeny && !wouldOnly && m.ID == s.decision.Rule:
			add.Denied = 1
		case m.Action == event.ActionDeny && wouldOnly:
			add.WouldDeny = 1
		case m.Action == event.ActionAlert && m.Mode == event.ModeAudit:
			add.WouldAlert = 1
		}
		n.Add(add)
	}
}

// recorded is d as the record keeps it, capped by the daemon's mode.
func recorded(d *rule.Decision, mode event.Mode, input uint64) event.Decision {
	r := event.Decision{Action: d.Action, Would: d.Action, Mode: mode, Rule: d.Rule, Reason: d.Reason, Revision: d.Revision, Input: input}
	if d.Error != "" {
		r.Error = evaluatorError
	}
	if d.Rule != "" && d.Pos.File != "" {
		r.Pos = d.Pos.Short()
	}
	if mode == event.ModeAudit && d.Action == event.ActionDeny {
		r.Action, r.Capped = event.ActionAlert, true
	}
	for i := range d.Matches {
		r.Matches = append(r.Matches, d.Matches[i].ID)
	}
	return r
}

// evaluatorError is how the record names a decision that the evaluator did not
// make.
const evaluatorError = "evaluator_error"
