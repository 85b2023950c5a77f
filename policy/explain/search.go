package explain

import (
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// maxSteps bounds a search. A step is about one condition held against facts:
// all take about a tenth of a second.
const maxSteps = 1_000_000

// stepsOfValue is what it takes to make a change and look at its condition.
const stepsOfValue = 5

// search looks for changes of facts with which a goal is reached. It is
// complete for the values that facts have: a change that matters makes some
// match hold that did not, or the reverse. In the first case every condition
// that does not hold is on a fact that changes, so all these are changed at
// once; in the second one fact of the match does.
type search struct {
	*explainer
	goal    func(*rule.Facts) bool
	matches []table.Match // of which one must change
	unknown bool          // a fact may become "not known"
	changed []bool        // by fact
	path    []Change
	steps   int
	been    map[string]bool // sets of changes that run has seen
}

// budget is how many facts may still change.
type budget int

// spent reports whether the search has had its time.
func (s *search) spent() bool { return s.steps >= maxSteps }

// run reports whether the goal is reached from f; path is how.
func (s *search) run(f *rule.Facts, left budget) bool {
	s.steps += len(s.matches) // the goal, and what comes below, look at all rules
	if s.goal(f) {
		return true
	}
	if left == 0 || s.spent() || s.again() {
		return false
	}
	undo := map[int]bool{} // facts of matches that hold
	for _, m := range s.matches {
		switch n, all := failing(m, f); {
		case all:
			for i := range m.Len() {
				for _, key := range s.keys(m, i) {
					undo[key] = true
				}
			}
		case n <= left:
			if s.satisfy(f, left, obligations(m), s.run) {
				return true
			}
		}
	}
	for key := range s.facts {
		if undo[key] && s.try(key, f, func(f *rule.Facts) bool { return s.run(f, left-1) }) {
			return true
		}
	}
	return false
}

// again reports whether run was here, by the same changes in another order. The
// number of changes is that of the facts that may not change any more, so what
// was left is the same too.
func (s *search) again() bool {
	texts := make([]string, len(s.path))
	for i, c := range s.path {
		texts[i] = c.Key + "\x00" + c.To
	}
	slices.Sort(texts)
	key := strings.Join(texts, "\x00\x00")
	if s.been[key] {
		return true
	}
	s.been[key] = true
	return false
}

// failing is the least number of facts that must change for m to hold, and
// whether it holds. Conditions on the same fact count once.
func failing(m table.Match, f *rule.Facts) (n budget, holds bool) {
	var seen [4]string
	holds, ancestors := true, budget(0)
	for i := range m.Len() {
		if m.State(i, f) == table.Holds {
			continue
		}
		holds = false
		key := m.Key(i)
		switch {
		case strings.HasSuffix(key, ".ancestor"):
			ancestors = 1 // perhaps the same process as a condition on a parent
			continue
		case strings.HasSuffix(key, ".scope"):
			key = strings.TrimSuffix(key, "scope") + "host"
		case strings.HasSuffix(key, ".proto"):
			key = "proto"
		}
		if int(n) < len(seen) && !slices.Contains(seen[:n], key) {
			seen[n] = key
			n++
		}
	}
	return max(n, ancestors), holds
}

// obligation is a condition that must come to hold.
type obligation struct {
	match table.Match
	i     int
}

func obligations(m table.Match) []obligation {
	out := make([]obligation, m.Len())
	for i := range out {
		out[i] = obligation{m, i}
	}
	return out
}

func (o obligation) holds(f *rule.Facts) bool { return o.match.State(o.i, f) == table.Holds }

// satisfy changes facts until all of want holds, then goes on with then.
func (s *search) satisfy(f *rule.Facts, left budget, want []obligation, then func(*rule.Facts, budget) bool) bool {
	at := 0
	for at < len(want) && want[at].holds(f) {
		at++
	}
	if at == len(want) {
		return then(f, left)
	}
	if left == 0 || s.spent() {
		return false
	}
	o := want[at]
	if strings.HasSuffix(o.match.Key(o.i), ".ancestor") {
		return s.ancestor(f, left, want, at, then)
	}
	keys := s.keys(o.match, o.i)
	next := func(f *rule.Facts) bool { return o.holds(f) && s.satisfy(f, left-1, want, then) }
	for _, key := range keys {
		if s.try(key, f, next) {
			return true
		}
	}
	if left < 2 || len(keys) != 2 {
		return false
	}
	// A path of the host and the kind of file may both be wrong.
	return s.try(keys[1], f, func(f *rule.Facts) bool {
		return s.try(keys[0], f, func(f *rule.Facts) bool { return o.holds(f) && s.satisfy(f, left-2, want, then) })
	})
}

// ancestor lets want[at] be about each of the processes above in turn.
func (s *search) ancestor(f *rule.Facts, left budget, want []obligation, at int, then func(*rule.Facts, budget) bool) bool {
	for generations := 1; generations <= len(f.Ancestors)+1; generations++ {
		m, ok := want[at].match.Above(want[at].i, generations)
		if !ok {
			continue
		}
		all := append(obligations(m), want[:at]...)
		all = append(all, want[at+1:]...)
		if s.satisfy(f, left, all, then) {
			return true
		}
	}
	return false
}

// try gives a fact that has not changed yet every other value, until next is
// content with one.
func (s *search) try(key int, f *rule.Facts, next func(*rule.Facts) bool) bool {
	if s.changed[key] {
		return false
	}
	s.changed[key] = true
	defer func() { s.changed[key] = false }()
	for _, c := range s.facts[key].values {
		if c.To == "" && !s.unknown {
			continue
		}
		if s.steps += stepsOfValue; s.spent() {
			return false
		}
		g := *f
		c.Apply(&g)
		s.path = append(s.path, c)
		if next(&g) {
			return true
		}
		s.path = s.path[:len(s.path)-1]
	}
	return false
}

// keys are the facts that condition i of m reads.
func (s *search) keys(m table.Match, i int) (out []int) {
	for _, key := range factKeys(m.Key(i), m.Level(i)) {
		if at, ok := s.byKey[key]; ok {
			out = append(out, at)
			continue
		}
		if key != anyAncestor {
			continue
		}
		for at := range s.facts {
			if strings.HasPrefix(s.facts[at].key, slotKey(1)+".") || strings.HasPrefix(s.facts[at].key, anyAncestor) {
				out = append(out, at)
			}
		}
	}
	return out
}

const anyAncestor = "process.ancestor["

// factKeys are the facts that a condition reads.
func factKeys(key string, level int) []string {
	head, last, _ := strings.Cut(key, ".")
	switch key {
	case "direction", "novelty":
		return []string{key}
	case "to.proto", "from.proto":
		return []string{"proto"}
	case "to.host", "from.host":
		return []string{head + ".name", head + ".addr"}
	case "to.scope", "from.scope":
		return []string{head + ".addr"}
	case "to.port", "from.port", "to.country", "from.country":
		return []string{key}
	}
	last = last[strings.LastIndexByte(last, '.')+1:]
	switch last {
	case "exe":
		return []string{slotKey(level) + ".exe", slotKey(level) + ".kind"}
	case "ancestor":
		return []string{anyAncestor}
	}
	return []string{slotKey(level) + "." + last}
}

// flip looks for the fewest changes that make the action another than is.
// searched is how many changes were ruled out, but for the flip itself.
func (c *explainer) flip(f *rule.Facts, is event.Action) (flip *Flip, searched int) {
	var matches []table.Match
	for _, cl := range c.live {
		if cl.mode == event.ModeEnforce {
			matches = append(append(matches, cl.Match), cl.Except...)
		}
	}
	var then rule.Decision
	goal := func(f *rule.Facts) bool {
		v := c.table.Votes(f)
		v.Custom = c.custom
		then = c.set.Combine(v, c.now)
		return then.Action != is
	}
	s := &search{explainer: c, goal: goal, matches: matches, changed: make([]bool, len(c.facts))}
	for n := 1; n <= MaxChanges; n++ {
		for _, unknown := range []bool{false, true} {
			s.unknown, s.been = unknown, map[string]bool{}
			if s.run(f, budget(n)) {
				return &Flip{Action: then.Action.String(), Rule: then.Rule, Changes: s.path}, n - 1
			}
		}
		if s.spent() {
			return nil, n - 1
		}
	}
	return nil, MaxChanges
}
