package table

import (
	"snitch/policy/rule"
)

// State is what became of one condition.
type State uint8

// States of a condition.
const (
	StateInvalid State = 0
	Holds        State = 1
	Fails        State = 2
	Absent       State = 3 // the fact is not known, so it does not match
)

var stateNames = [...]string{"invalid", "holds", "fails", "absent"}

// String is the name that explanations print.
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return stateNames[0]
	}
	return stateNames[s]
}

// Condition is one key of a match held against facts.
type Condition struct {
	Key   string   // as in the rule file, "process.parent.exe"
	Want  []string // the items of the rule, any of which would do
	Got   string   // the fact, "" when it is absent
	State State
}

// Conditions holds every condition of m against f, in the order of docs/rules.
// m matches exactly when all of them hold. trusted says that only trusted names
// count: of allow rules and of exceptions. lists are those of m's Set.
func Conditions(m *rule.Match, lists map[string]*rule.List, trusted bool, f *rule.Facts) []Condition {
	return report(compileMatch(m, lists, trusted), f)
}

// ProcessConditions is Conditions of a confine entry's process, or of one of
// its exceptions. A nil m has none: it matches every process.
func ProcessConditions(m *rule.ProcessMatch, f *rule.Facts) []Condition {
	return report(compileProcess(m, "process", 0), f)
}

func report(conds []cond, f *rule.Facts) []Condition {
	out := make([]Condition, len(conds))
	for i, c := range conds {
		out[i] = Condition{Key: c.key, Want: c.test.want(), Got: c.test.got(f, c.level), State: c.test.state(f, c.level)}
	}
	return out
}

// cond is one condition of a compiled match.
type cond struct {
	key   string
	level int // of the subject it is about: 0 the process, 1 its parent …
	test  test
}

// test is the condition itself. Endpoint conditions ignore the level.
type test interface {
	state(f *rule.Facts, level int) State
	want() []string
	got(f *rule.Facts, level int) string
}

// all reports whether every condition holds. above moves the subjects they are
// about so many generations up.
func all(conds []cond, f *rule.Facts, above int) bool {
	for i := range conds {
		if conds[i].test.state(f, conds[i].level+above) != Holds {
			return false
		}
	}
	return true
}

// subject is the process at a level, nil when it is not known.
func subject(f *rule.Facts, level int) *rule.Subject {
	if level == 0 {
		return &f.Process
	}
	if level <= len(f.Ancestors) {
		return &f.Ancestors[level-1]
	}
	return nil
}

// holdsIf is the state of a condition on a fact that is known.
func holdsIf(yes bool) State {
	if yes {
		return Holds
	}
	return Fails
}

// compileMatch makes the conditions of a match, those that are cheap first.
func compileMatch(m *rule.Match, lists map[string]*rule.List, trusted bool) []cond {
	conds := compileProcess(m.Process, "process", 0)
	if len(m.Direction) > 0 {
		conds = append(conds, cond{key: "direction", test: directionTest(m.Direction)})
	}
	conds = append(conds, compileEndpoint(m.To, toEnd, lists, trusted)...)
	conds = append(conds, compileEndpoint(m.From, fromEnd, lists, trusted)...)
	if len(m.Novelty) > 0 {
		conds = append(conds, cond{key: "novelty", test: noveltyTest(m.Novelty)})
	}
	return conds
}
