package policy

import (
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// ReasonError explains a decision that the evaluator did not make.
const ReasonError = "the evaluator failed"

// fallback is the decision when OPA gave none: a deny if the set has an
// enforced deny or confinement that may concern this process, else an alert. A
// program that could make the evaluator fail would escape every deny otherwise.
func (p *Policy) fallback(f *rule.Facts, now time.Time, err error) rule.Decision {
	d := rule.Decision{Action: event.ActionAlert, Reason: ReasonError, Revision: p.Set.Revision, Error: err.Error()}
	holds := func(mode event.Mode, expires time.Time) bool {
		return mode == event.ModeEnforce && (expires.IsZero() || now.Before(expires))
	}
	second := p.second()
	for i := range p.Set.Rules {
		r := &p.Set.Rules[i]
		if r.Action == event.ActionDeny && holds(r.Mode, r.Expires) && mayBe(&second.Rule(i).Match, f) {
			d.Action = event.ActionDeny
			return d
		}
	}
	for i := range p.Set.Confine {
		c := &p.Set.Confine[i]
		if holds(c.Mode, c.Expires) && mayBe(&second.Confine(i).Match, f) {
			d.Action = event.ActionDeny
			return d
		}
	}
	return d
}

// mayBe reports whether no known fact of the process speaks against m.
// Exceptions are not asked: to be denied without need is the lesser harm.
func mayBe(m *table.Match, f *rule.Facts) bool {
	for i := range m.Len() {
		if strings.HasPrefix(m.Key(i), "process.") && m.State(i, f) == table.Fails {
			return false
		}
	}
	return true
}
