package explain

import (
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// Explanation is why a decision is what it is. It is made for JSON and for
// Text. Actions, modes and states are the names that rules use.
type Explanation struct {
	Action       string      `json:"action"`
	Rule         string      `json:"rule"` // the winner, "" when no rule matched
	Reason       string      `json:"reason"`
	Pos          string      `json:"pos,omitempty"` // file:line:col of the winner
	Revision     string      `json:"revision,omitempty"`
	Matches      []Match     `json:"matches"` // all that took part, the winner included, by id
	Expired      []Match     `json:"expired,omitempty"`
	Exceptions   []Exception `json:"exceptions,omitempty"` // that kept a rule from matching
	Confinement  Confinement `json:"confinement"`
	NearMisses   []NearMiss  `json:"near_misses,omitempty"`
	MoreNear     int         `json:"more_near_misses,omitempty"` // not shown
	Flip         *Flip       `json:"flip,omitempty"`             // nil: none was found
	FlipSearched int         `json:"flip_searched"`              // no change of so many facts or fewer, but Flip's, makes it another action
	Removals     []Removal   `json:"removals,omitempty"`
	decision     rule.Decision
}

// Match is a rule that matched.
type Match struct {
	ID      string `json:"id"`
	Action  string `json:"action"`
	Mode    string `json:"mode"` // audit: it did not vote, it would have
	Reason  string `json:"reason,omitempty"`
	Pos     string `json:"pos"`
	Confine bool   `json:"confine,omitempty"`
	Winner  bool   `json:"winner,omitempty"`
}

// Exception is one that held.
type Exception struct {
	ID     string   `json:"id"` // of the rule or confine entry that it kept away
	Action string   `json:"action"`
	Mode   string   `json:"mode"`
	Number int      `json:"number"` // in its except list, from 1
	Keys   []string `json:"keys"`   // its conditions
	Pos    string   `json:"pos"`    // of the rule
}

// Confinement is whether the subject may do only what an allow rule grants.
type Confinement struct {
	By      []string `json:"by,omitempty"`      // enforced entries that confine it; none: it is not confined
	Audit   []string `json:"audit,omitempty"`   // entries of mode audit that would
	Granted []string `json:"granted,omitempty"` // enforced allow rules that matched
}

// NearMiss is a rule of which exactly one condition does not hold.
type NearMiss struct {
	ID      string   `json:"id"`
	Action  string   `json:"action"`
	Mode    string   `json:"mode"`
	Pos     string   `json:"pos"` // of the condition, where it is known, else of the rule
	Confine bool     `json:"confine,omitempty"`
	Key     string   `json:"key"`   // of the condition
	State   string   `json:"state"` // "fails" or "absent": the fact is not known
	Want    []string `json:"want"`
	Got     string   `json:"got,omitempty"`
	Change  Change   `json:"change"` // with it the rule matches
}

// Change is another value of one fact.
type Change struct {
	Key  string `json:"key"`
	From string `json:"from"` // "" not known
	To   string `json:"to"`   // "" not known

	set func(*rule.Facts)
}

// Apply makes the change. Facts that were copied by assignment do not change
// with f.
func (c Change) Apply(f *rule.Facts) { c.set(f) }

// Flip is the fewest facts whose change makes it another action.
type Flip struct {
	Action  string   `json:"action"` // then
	Rule    string   `json:"rule"`   // the winner then
	Changes []Change `json:"changes"`
}

// Removal is a rule or confine entry without which it would be another action.
type Removal struct {
	ID     string `json:"id"`
	Pos    string `json:"pos"`
	Action string `json:"action"` // then
}

// Bounds of an explanation.
const (
	MaxNearMisses = 10
	MaxChanges    = 3 // of a Flip: with more it is another connection
)

// Explain says why the rules of t decide about f as they do at now. custom are
// the votes of custom modules on f.
func Explain(t *table.Table, f *rule.Facts, now time.Time, custom ...rule.CustomVote) *Explanation {
	c := &explainer{table: t, set: t.Set(), now: now, custom: custom}
	votes := t.Votes(f)
	votes.Custom = custom
	d := c.set.Combine(votes, now)
	e := &Explanation{Action: d.Action.String(), Rule: d.Rule, Reason: d.Reason, Revision: d.Revision, Matches: []Match{}, decision: d}
	if d.Rule != "" {
		e.Pos = d.Pos.String()
	}
	for _, m := range d.Matches {
		e.Matches = append(e.Matches, Match{ID: m.ID, Action: m.Action.String(), Mode: m.Mode.String(), Reason: m.Reason, Pos: m.Pos.String(),
			Confine: m.Confine, Winner: m.ID == d.Rule})
	}
	e.Expired = c.expired(votes)
	e.Confinement = c.confinement(votes)
	e.Removals = c.removals(votes, d, e.Confinement.Granted)
	c.clauses(f)
	e.Exceptions = c.exceptions(f)
	e.NearMisses, e.MoreNear = c.nearMisses(f, d)
	e.Flip, e.FlipSearched = c.flip(f, d.Action)
	return e
}

// explainer is one explanation being made.
type explainer struct {
	table  *table.Table
	set    *rule.Set
	now    time.Time
	custom []rule.CustomVote
	live   []clause
	facts  []fact
	byKey  map[string]int
}

// clause is a rule or confine entry that has not expired.
type clause struct {
	*table.Clause
	id      string
	action  event.Action
	mode    event.Mode
	pos     rule.Position
	at      func(key string) rule.Position
	confine bool
}

func (c *explainer) past(at time.Time) bool { return !at.IsZero() && !c.now.Before(at) }

func (c *explainer) clauses(f *rule.Facts) {
	for i := range c.set.Rules {
		if r := &c.set.Rules[i]; !c.past(r.Expires) {
			c.live = append(c.live, clause{c.table.Rule(i), r.ID, r.Action, r.Mode, r.Pos, r.At, false})
		}
	}
	for i := range c.set.Confine {
		if e := &c.set.Confine[i]; !c.past(e.Expires) {
			at := func(string) rule.Position { return e.Pos }
			c.live = append(c.live, clause{c.table.Confine(i), e.ID, event.ActionDeny, e.Mode, e.Pos, at, true})
		}
	}
	c.facts = factsOf(c.set, f)
	c.byKey = make(map[string]int, len(c.facts))
	for i := range c.facts {
		c.byKey[c.facts[i].key] = i
	}
}

func (c *explainer) expired(v rule.Votes) (out []Match) {
	for i := range c.set.Rules {
		if r := &c.set.Rules[i]; c.past(r.Expires) && slices.Contains(v.Rules, r.ID) {
			out = append(out, Match{ID: r.ID, Action: r.Action.String(), Mode: r.Mode.String(), Reason: r.Reason, Pos: r.Pos.String()})
		}
	}
	for i := range c.set.Confine {
		if e := &c.set.Confine[i]; c.past(e.Expires) && slices.Contains(v.Confine, e.ID) {
			out = append(out, Match{ID: e.ID, Action: event.ActionDeny.String(), Mode: e.Mode.String(), Reason: e.Reason, Pos: e.Pos.String(), Confine: true})
		}
	}
	return out
}

func (c *explainer) confinement(v rule.Votes) (out Confinement) {
	for i := range c.set.Confine {
		switch e := &c.set.Confine[i]; {
		case c.past(e.Expires) || !slices.Contains(v.Confine, e.ID):
		case e.Mode == event.ModeEnforce:
			out.By = append(out.By, e.ID)
		default:
			out.Audit = append(out.Audit, e.ID)
		}
	}
	for i := range c.set.Rules {
		r := &c.set.Rules[i]
		if r.Action == event.ActionAllow && r.Mode == event.ModeEnforce && !c.past(r.Expires) && slices.Contains(v.Rules, r.ID) {
			out.Granted = append(out.Granted, r.ID)
		}
	}
	for _, v := range c.custom {
		if v.Action == event.ActionAllow {
			out.Granted = append(out.Granted, v.ID)
		}
	}
	return out
}

// removals tries the set without each rule whose vote stands alone: the only
// one of the winning action, or the only one that grants what is confined.
// Without any other the action stays.
func (c *explainer) removals(v rule.Votes, d rule.Decision, granted []string) (out []Removal) {
	var alone []rule.Matched
	for _, m := range d.Matches {
		if m.Mode == event.ModeEnforce && m.Action == d.Action {
			alone = append(alone, m)
		}
	}
	if len(alone) > 1 {
		alone = nil
	}
	for _, m := range d.Matches {
		if len(granted) == 1 && m.ID == granted[0] && d.Action != event.ActionAllow {
			alone = append(alone, m)
		}
	}
	for _, m := range alone {
		less := rule.Votes{Rules: without(v.Rules, m.ID), Confine: without(v.Confine, m.ID), Custom: v.Custom}
		if then := c.set.Combine(less, c.now).Action; then != d.Action {
			out = append(out, Removal{m.ID, m.Pos.String(), then.String()})
		}
	}
	return out
}

func without(ids []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(s string) bool { return s == id })
}

func (c *explainer) exceptions(f *rule.Facts) (out []Exception) {
	for _, cl := range c.live {
		if !cl.Match.Matches(f) {
			continue
		}
		for i, m := range cl.Except {
			if !m.Matches(f) {
				continue
			}
			e := Exception{ID: cl.id, Action: cl.action.String(), Mode: cl.mode.String(), Number: i + 1, Pos: cl.pos.String(), Keys: []string{}}
			for j := range m.Len() {
				e.Keys = append(e.Keys, m.Key(j))
			}
			out = append(out, e)
		}
	}
	return out
}
