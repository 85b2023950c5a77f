package explain

import (
	"cmp"
	"slices"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// near is a clause of which one condition does not hold.
type near struct {
	clause
	condition int
	flips     bool // with it the decision would be another
}

// nearMisses are the clauses of which exactly one condition does not hold and
// one change of a fact would make them match, those first that would change
// the decision, then those of which most conditions hold.
func (c *explainer) nearMisses(f *rule.Facts, d rule.Decision) (out []NearMiss, more int) {
	var all []near
	for _, cl := range c.live {
		if i, ok := onlyMiss(cl.Match, f); ok {
			all = append(all, near{cl, i, cl.wouldFlip(d)})
		}
	}
	slices.SortStableFunc(all, func(a, b near) int {
		if a.flips != b.flips {
			if a.flips {
				return -1
			}
			return 1
		}
		if c := b.Match.Len() - a.Match.Len(); c != 0 {
			return c
		}
		return cmp.Compare(a.id, b.id)
	})
	s := &search{explainer: c, changed: make([]bool, len(c.facts)), unknown: true}
	for i, n := range all {
		if len(out) == MaxNearMisses {
			return out, len(all) - i
		}
		if miss, ok := s.miss(f, n); ok {
			out = append(out, miss)
		}
	}
	return out, 0
}

// wouldFlip reports whether a vote of cl would change d, as far as its action
// tells.
func (cl *clause) wouldFlip(d rule.Decision) bool {
	if cl.mode != event.ModeEnforce {
		return false
	}
	byConfinement := slices.ContainsFunc(d.Matches, func(m rule.Matched) bool { return m.ID == d.Rule && m.Confine })
	return cl.action > d.Action || cl.action == event.ActionAllow && (d.Rule == "" || byConfinement)
}

// onlyMiss is the one condition of m that does not hold.
func onlyMiss(m table.Match, f *rule.Facts) (at int, ok bool) {
	for i := range m.Len() {
		if m.State(i, f) == table.Holds {
			continue
		}
		if ok {
			return 0, false
		}
		at, ok = i, true
	}
	return at, ok
}

// miss finds the change with which n matches. There may be none: two
// conditions on one fact can contradict each other, an exception can hold.
func (s *search) miss(f *rule.Facts, n near) (NearMiss, bool) {
	s.path, s.steps = nil, 0
	if !s.satisfy(f, 1, obligations(n.Match), func(f *rule.Facts, _ budget) bool { return n.Matches(f) }) {
		return NearMiss{}, false
	}
	c := n.Match.Condition(n.condition, f)
	return NearMiss{ID: n.id, Action: n.action.String(), Mode: n.mode.String(), Pos: n.at(c.Key).String(), Confine: n.confine,
		Key: c.Key, State: c.State.String(), Want: c.Want, Got: c.Got, Change: s.path[0]}, true
}
