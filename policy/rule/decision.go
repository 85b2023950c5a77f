package rule

import (
	"slices"
	"strings"
	"time"

	"snitch/monitor/event"
)

// Votes are the ids of the rules and confine entries of a Set that match one
// connection, whether or not they have expired. They are what OPA and the table
// answer; Combine makes the decision.
type Votes struct {
	Rules   []string // whose Match holds and no exception
	Confine []string // whose Process holds and no exception
	Custom  []CustomVote
}

// CustomVote is a vote of a custom Rego package.
type CustomVote struct {
	ID     string // "custom.<package>.<id>"
	Action event.Action
	Reason string
	Pos    Position
}

// Matched is one rule that took part in a decision.
type Matched struct {
	ID      string
	Action  event.Action
	Mode    event.Mode // audit: it did not vote
	Reason  string
	Pos     Position
	Confine bool
}

// Decision is the answer for one set of facts.
type Decision struct {
	Action   event.Action // what the rules say, not capped by the daemon's mode
	Rule     string       // the winner, "" when no rule matched
	Reason   string       // of the winner; a sentence also where it has none
	Pos      Position     // of the winner
	Matches  []Matched    // all that matched, those of mode audit included; sorted by ID
	Revision string
	// Cacheable says that the same facts without Novelty lead to the same
	// decision until a rule expires or the set changes.
	Cacheable bool
	// Until is when the next rule or confine entry of the set expires, after
	// which the decision may be another; zero: never.
	Until time.Time
	// Error says that the evaluator failed and Action is the fall-back.
	Error string
	// Degraded names the custom packages that did not answer.
	Degraded []string
}

// Reasons of decisions that no rule's own reason explains.
const (
	ReasonNoRule   = "no rule matches"
	ReasonConfined = "confined, and no allow rule grants it"
)

// Combine makes one decision of the votes: the strictest wins, then the
// smallest id; a confined subject that no enforced allow rule matches gets a
// deny vote; without a vote it is an alert. What has expired at now takes no
// part. Unknown ids are ignored.
func (s *Set) Combine(v Votes, now time.Time) Decision {
	d := Decision{Action: event.ActionAlert, Reason: ReasonNoRule, Revision: s.Revision, Cacheable: true, Until: s.nextExpiry(now)}
	allowed := false
	var votes []Matched
	add := func(m Matched) {
		d.Matches = append(d.Matches, m)
		if m.Mode == event.ModeEnforce {
			votes = append(votes, m)
		}
	}
	for _, id := range v.Rules {
		if r := s.Rule(id); r != nil && !expired(r.Expires, now) {
			add(Matched{ID: r.ID, Action: r.Action, Mode: r.Mode, Reason: r.Reason, Pos: r.Pos})
			allowed = allowed || r.Action == event.ActionAllow && r.Mode == event.ModeEnforce
		}
	}
	for _, c := range v.Custom {
		add(Matched{ID: c.ID, Action: c.Action, Mode: event.ModeEnforce, Reason: c.Reason, Pos: c.Pos})
		allowed = allowed || c.Action == event.ActionAllow
	}
	for _, id := range v.Confine {
		if c := s.Confined(id); c != nil && !allowed && !expired(c.Expires, now) {
			reason := c.Reason
			if reason == "" {
				reason = ReasonConfined
			}
			add(Matched{ID: c.ID, Action: event.ActionDeny, Mode: c.Mode, Reason: reason, Pos: c.Pos, Confine: true})
		}
	}
	slices.SortFunc(d.Matches, func(a, b Matched) int { return strings.Compare(a.ID, b.ID) })
	for _, m := range votes {
		if d.Rule == "" || stricter(m, d) {
			d.Action, d.Rule, d.Reason, d.Pos = m.Action, m.ID, m.Reason, m.Pos
		}
	}
	if d.Rule != "" && d.Reason == "" {
		d.Reason = "rule " + d.Rule
	}
	return d
}

// stricter orders votes: deny over alert over allow, which is the order of
// their numbers, then the smallest id.
func stricter(m Matched, d Decision) bool {
	if m.Action != d.Action {
		return m.Action > d.Action
	}
	return m.ID < d.Rule
}

func expired(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// nextExpiry is the earliest Expires after now, zero when there is none.
func (s *Set) nextExpiry(now time.Time) (next time.Time) {
	earlier := func(at time.Time) {
		if !at.IsZero() && at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for i := range s.Rules {
		earlier(s.Rules[i].Expires)
	}
	for i := range s.Confine {
		earlier(s.Confine[i].Expires)
	}
	return next
}

// Rule returns the rule with this id, nil if there is none.
func (s *Set) Rule(id string) *Rule {
	i, ok := slices.BinarySearchFunc(s.Rules, id, func(r Rule, id string) int { return strings.Compare(r.ID, id) })
	if !ok {
		return nil
	}
	return &s.Rules[i]
}

// Confined returns the confine entry with this id, nil if there is none.
func (s *Set) Confined(id string) *Confine {
	i, ok := slices.BinarySearchFunc(s.Confine, id, func(c Confine, id string) int { return strings.Compare(c.ID, id) })
	if !ok {
		return nil
	}
	return &s.Confine[i]
}

// WouldDeny reports whether a rule or confine entry of mode audit would have
// made it a deny.
func (d Decision) WouldDeny() bool {
	return slices.ContainsFunc(d.Matches, func(m Matched) bool {
		return m.Mode == event.ModeAudit && m.Action == event.ActionDeny
	})
}
