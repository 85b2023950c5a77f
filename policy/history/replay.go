package history

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"snitch/monitor/event"
)

// Cause says why a row cannot be decided again.
type Cause string

// Causes; the texts are part of the JSON form.
const (
	CauseNoPolicy   Cause = "recorded without rules"
	CauseUndecided  Cause = "undecided when it was recorded"
	CauseEvaluator  Cause = "the evaluator failed when it was recorded"
	CauseNoInput    Cause = "recorded without a digest of its facts"
	CauseNoRules    Cause = "its rules are not in the record"
	CauseBadRules   Cause = "its rules do not load any more"
	CauseFacts      Cause = "a fact changed after the decision"
	CauseIncomplete Cause = "recorded by an older snitch without facts that these rules read"
	CauseFailed     Cause = "the evaluator fails now"
)

// Group is rows that are told together.
type Group struct {
	Program     string `json:"program"`
	Destination string `json:"destination"`
	Before      string `json:"before"` // action
	After       string `json:"after"`
	RuleBefore  string `json:"rule_before"`
	RuleAfter   string `json:"rule_after"`
	Sums
}

// Undecidable is rows that could not be decided again, by cause.
type Undecidable struct {
	Cause Cause `json:"cause"`
	Sums
}

// Report is what a history says of rules.
type Report struct {
	Rows        Sums          `json:"rows"`
	Same        Sums          `json:"same"` // decided as before
	Denied      []Group       `json:"newly_denied"`
	Alerting    []Group       `json:"newly_alerting"`
	Allowed     []Group       `json:"newly_allowed"`
	Otherwise   []Group       `json:"by_another_rule"` // the same action, of another rule
	Undecidable []Undecidable `json:"undecidable"`
	Decided     int           `json:"decided"` // how often OPA was asked
}

// Differs reports whether an action is another one.
func (r *Report) Differs() bool { return len(r.Denied)+len(r.Alerting)+len(r.Allowed) > 0 }

// Total adds groups up.
func Total(groups []Group) (s Sums) {
	for i := range groups {
		s.merge(groups[i].Sums)
	}
	return s
}

// Of returns the sums of one cause.
func (r *Report) Of(cause Cause) Sums {
	for _, u := range r.Undecidable {
		if u.Cause == cause {
			return u.Sums
		}
	}
	return Sums{}
}

// groupsKept bounds the groups of a report; what comes later is told together.
const groupsKept = 1 << 17

// otherDestinations is the destination of groups beyond the bound.
const otherDestinations = "(others)"

type groupKey struct {
	program, destination string
	before, after        event.Action
	ruleBefore, ruleNow  string
}

// tally adds rows up to a Report.
type tally struct {
	rows, same  Sums
	groups      map[groupKey]*Sums
	undecidable map[Cause]*Sums
}

func newTally() *tally {
	return &tally{groups: make(map[groupKey]*Sums), undecidable: make(map[Cause]*Sums)}
}

func (t *tally) cannot(cause Cause, r *Row) {
	have := t.undecidable[cause]
	if have == nil {
		have = new(Sums)
		t.undecidable[cause] = have
	}
	have.add(r)
}

func (t *tally) compare(r *Row, c *class, before, now outcome) {
	if before == now {
		t.same.add(r)
		return
	}
	key := groupKey{c.program, c.destination, before.action, now.action, before.rule, now.rule}
	have := t.groups[key]
	if have == nil {
		if len(t.groups) >= groupsKept {
			key.program, key.destination = "", otherDestinations
			have = t.groups[key]
		}
		if have == nil {
			have = new(Sums)
			t.groups[key] = have
		}
	}
	have.add(r)
}

func (t *tally) report() *Report {
	out := &Report{Rows: t.rows, Same: t.same}
	for key, sums := range t.groups {
		g := Group{Program: key.program, Destination: key.destination, Before: key.before.String(), After: key.after.String(),
			RuleBefore: key.ruleBefore, RuleAfter: key.ruleNow, Sums: *sums}
		to := &out.Otherwise
		if key.before != key.after {
			switch key.after {
			case event.ActionDeny:
				to = &out.Denied
			case event.ActionAllow:
				to = &out.Allowed
			default:
				to = &out.Alerting
			}
		}
		*to = append(*to, g)
	}
	for _, list := range [][]Group{out.Denied, out.Alerting, out.Allowed, out.Otherwise} {
		slices.SortFunc(list, compareGroups)
	}
	for _, cause := range slices.Sorted(maps.Keys(t.undecidable)) {
		out.Undecidable = append(out.Undecidable, Undecidable{cause, *t.undecidable[cause]})
	}
	return out
}

// compareGroups puts what happened most often first.
func compareGroups(a, b Group) int {
	return cmp.Or(cmp.Compare(b.Connections, a.Connections), cmp.Compare(a.Program, b.Program), cmp.Compare(a.Destination, b.Destination),
		cmp.Compare(a.Before, b.Before), cmp.Compare(a.After, b.After), cmp.Compare(a.RuleBefore, b.RuleBefore), cmp.Compare(a.RuleAfter, b.RuleAfter))
}

// Rules are the rule sets of recorded decisions.
type Rules struct {
	// Sets are by revision; a revision has more than one when its name is no
	// digest and what stood under it changed.
	Sets map[string][]*Policy
	// Broken are revisions whose rules do not load any more.
	Broken map[string]error
}

// of returns the policies of a revision, and why there are none.
func (s *Rules) of(revision string) ([]*Policy, Cause) {
	switch {
	case len(s.Sets[revision]) > 0:
		return s.Sets[revision], ""
	case s.Broken[revision] != nil:
		return nil, CauseBadRules
	}
	return nil, CauseNoRules
}

// ports reports whether one of them reads the ports of ends that began.
func (s *Rules) ports() bool {
	for _, policies := range s.Sets {
		for _, p := range policies {
			if p.reads.From.Port {
				return true
			}
		}
	}
	return false
}

// Replay decides every row by the rules that decided it then. All must come
// out the same but those that are undecidable.
func Replay(ctx context.Context, s Source, rules *Rules, progress Progress) (*Report, error) {
	return rules.run(ctx, s, nil, progress)
}

// Try decides every row by candidate and compares with what was recorded.
// Where the rules of then are in the record, rows whose facts changed since
// are told apart. Rules that expire do so at the time of the row.
func Try(ctx context.Context, s Source, rules *Rules, candidate *Policy, progress Progress) (*Report, error) {
	return rules.run(ctx, s, candidate, progress)
}

func (s *Rules) run(ctx context.Context, source Source, candidate *Policy, progress Progress) (*Report, error) {
	t := newTally()
	w := newWalker(source, progress)
	err := w.each(ctx, s.ports() || candidate != nil && candidate.reads.From.Port, func(r *Row, c *class) error {
		t.rows.add(r)
		d, err := w.recorded(r)
		if err != nil {
			return err
		}
		before := outcome{action: d.Would, rule: d.Rule}
		var now outcome
		cause := undecided(&d)
		if candidate == nil {
			now, cause, err = s.again(ctx, r, c, &d, cause)
		} else {
			now, cause, err = s.try(ctx, r, c, &d, cause, candidate)
		}
		switch {
		case err != nil:
			return err
		case cause != "":
			t.cannot(cause, r)
		default:
			t.compare(r, c, before, now)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := t.report()
	for _, policies := range s.Sets {
		for _, p := range policies {
			out.Decided += p.decided
		}
	}
	if candidate != nil {
		out.Decided += candidate.decided
	}
	return out, nil
}

// undecided is the cause why a row has no decision to compare with.
func undecided(d *event.Decision) Cause {
	switch {
	case d.Would == event.ActionNone:
		return CauseNoPolicy
	case d.Would == event.ActionUndecided:
		return CauseUndecided
	case d.Error != "":
		return CauseEvaluator
	}
	return ""
}

// again decides a row by its own rules.
func (s *Rules) again(ctx context.Context, r *Row, c *class, d *event.Decision, cause Cause) (outcome, Cause, error) {
	if cause == "" && r.Input == 0 {
		cause = CauseNoInput
	}
	if cause != "" {
		return outcome{}, cause, nil
	}
	return s.same(ctx, r, c, d)
}

// same decides a row by the set whose facts it has. Where several of one
// revision have them, one that comes to the recorded decision is the one.
func (s *Rules) same(ctx context.Context, r *Row, c *class, d *event.Decision) (out outcome, cause Cause, err error) {
	policies, cause := s.of(d.Revision)
	if cause != "" {
		return out, cause, nil
	}
	cause = CauseFacts
	for _, p := range policies {
		now, err := c.by(ctx, p, r)
		if err != nil {
			return out, "", err
		}
		switch {
		case now.input != r.Input:
		case now.failed:
			if cause != "" {
				cause = CauseFailed
			}
		case cause != "" || now.outcome == outcome{action: d.Would, rule: d.Rule}:
			out, cause = now.outcome, ""
		}
	}
	return out, cause, nil
}

// try decides a row by other rules.
func (s *Rules) try(ctx context.Context, r *Row, c *class, d *event.Decision, cause Cause, candidate *Policy) (outcome, Cause, error) {
	if cause == CauseNoPolicy {
		cause = "" // there is nothing to compare with: all is new
	}
	if cause == "" && !c.complete && candidate.readsMore() {
		cause = CauseIncomplete
	}
	if cause == "" && r.Input != 0 {
		_, changed, err := s.same(ctx, r, c, d)
		if err != nil {
			return outcome{}, "", err
		}
		if changed == CauseFacts {
			cause = changed
		}
	}
	if cause != "" {
		return outcome{}, cause, nil
	}
	now, err := c.by(ctx, candidate, r)
	if err == nil && now.failed {
		cause = CauseFailed
	}
	return now.outcome, cause, err
}

// Compare decides every row by two policies. What was recorded of decisions
// does not matter.
func Compare(ctx context.Context, s Source, a, b *Policy, progress Progress) (*Report, error) {
	t := newTally()
	w := newWalker(s, progress)
	err := w.each(ctx, a.reads.From.Port || b.reads.From.Port, func(r *Row, c *class) error {
		t.rows.add(r)
		if !c.complete && (a.readsMore() || b.readsMore()) {
			t.cannot(CauseIncomplete, r)
			return nil
		}
		before, err := c.by(ctx, a, r)
		if err != nil {
			return err
		}
		now, err := c.by(ctx, b, r)
		if err != nil {
			return err
		}
		if before.failed || now.failed {
			t.cannot(CauseFailed, r)
			return nil
		}
		t.compare(r, c, before.outcome, now.outcome)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := t.report()
	out.Decided = a.decided + b.decided
	return out, nil
}
