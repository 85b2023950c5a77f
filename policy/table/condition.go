package table

import (
	"slices"

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

// Match is a compiled rule.Match, or rule.ProcessMatch of a confine entry: the
// conjunction of its conditions. One without conditions matches everything. It
// is immutable.
type Match struct{ conds []cond }

// Len is how many conditions m has.
func (m Match) Len() int { return len(m.conds) }

// Key is the key of condition i.
func (m Match) Key(i int) string { return m.conds[i].key }

// Level says whose fact condition i is about: 0 the process, 1 its parent, and
// so on. It means nothing for conditions on the connection.
func (m Match) Level(i int) int { return m.conds[i].level }

// State holds condition i against f.
func (m Match) State(i int, f *rule.Facts) State { return m.conds[i].test.state(f, m.conds[i].level) }

// Condition is State with what the rule wants and what the fact is.
func (m Match) Condition(i int, f *rule.Facts) Condition {
	c := &m.conds[i]
	return Condition{Key: c.key, Want: c.test.want(), Got: c.test.got(f, c.level), State: c.test.state(f, c.level)}
}

// Above is condition i, on an ancestor, as one on the process that many
// generations above the subject: 1 is the parent. It is false when condition i
// is of another kind or cannot be about that process.
func (m Match) Above(i, generations int) (Match, bool) {
	t, ok := m.conds[i].test.(*ancestorTest)
	if !ok || generations <= m.conds[i].level {
		return Match{}, false
	}
	conds := slices.Clone(t.conds)
	for j := range conds {
		conds[j].level += generations
	}
	return Match{conds}, true
}

// Matches reports whether every condition holds.
func (m Match) Matches(f *rule.Facts) bool { return all(m.conds, f, 0) }

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
// trusted says that only trusted names count: of allow rules and exceptions.
func compileMatch(m *rule.Match, lists map[string]*rule.List, trusted bool) Match {
	conds := compileProcess(m.Process, "process", 0)
	if len(m.Direction) > 0 {
		conds = append(conds, cond{key: "direction", test: directionTest(m.Direction)})
	}
	conds = append(conds, compileEndpoint(m.To, toEnd, lists, trusted)...)
	conds = append(conds, compileEndpoint(m.From, fromEnd, lists, trusted)...)
	if len(m.Novelty) > 0 {
		conds = append(conds, cond{key: "novelty", test: noveltyTest(m.Novelty)})
	}
	return Match{conds}
}

func compileSubject(m *rule.ProcessMatch) Match { return Match{compileProcess(m, "process", 0)} }
