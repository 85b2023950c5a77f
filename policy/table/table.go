package table

import (
	"slices"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Table answers which rules of a Set match. It is immutable and safe for
// concurrent use; it keeps no reference to the facts it is asked about.
type Table struct {
	set     *rule.Set
	rules   []Clause // parallel to set.Rules
	confine []Clause // parallel to set.Confine
	index   *index   // of rules and, behind them, confine
}

// Clause is a compiled rule or confine entry: it votes for what Match matches
// and no exception does.
type Clause struct {
	Match  Match
	Except []Match
}

// Matches reports whether c votes for f.
func (c *Clause) Matches(f *rule.Facts) bool {
	return c.Match.Matches(f) && !slices.ContainsFunc(c.Except, func(m Match) bool { return m.Matches(f) })
}

// Compile makes a Table. It keeps the set, which must not change any more.
func Compile(set *rule.Set) *Table {
	t := &Table{set: set, rules: make([]Clause, len(set.Rules)), confine: make([]Clause, len(set.Confine))}
	for i := range set.Rules {
		t.rules[i] = compileRule(&set.Rules[i], set.Lists)
	}
	for i := range set.Confine {
		t.confine[i] = compileConfine(&set.Confine[i])
	}
	t.index = newIndex(slices.Concat(t.rules, t.confine))
	return t
}

func compileRule(r *rule.Rule, lists map[string]*rule.List) Clause {
	c := Clause{Match: compileMatch(&r.Match, lists, r.Action == event.ActionAllow)}
	for i := range r.Except {
		c.Except = append(c.Except, compileMatch(&r.Except[i], lists, true))
	}
	return c
}

func compileConfine(entry *rule.Confine) Clause {
	c := Clause{Match: compileSubject(entry.Process)}
	for i := range entry.Except {
		c.Except = append(c.Except, compileSubject(&entry.Except[i]))
	}
	return c
}

// Set is the set that t was made of.
func (t *Table) Set() *rule.Set { return t.set }

// Rule is the compiled form of Set().Rules[i].
func (t *Table) Rule(i int) *Clause { return &t.rules[i] }

// Confine is the compiled form of Set().Confine[i].
func (t *Table) Confine(i int) *Clause { return &t.confine[i] }

// Votes are the rules and confine entries that match f, in the order of their
// ids. Custom modules do not vote here.
func (t *Table) Votes(f *rule.Facts) rule.Votes {
	var buf [64]int32
	var v rule.Votes
	for _, i := range t.index.candidates(f, buf[:0]) {
		if n := int(i) - len(t.rules); n >= 0 {
			if t.confine[n].Matches(f) {
				v.Confine = append(v.Confine, t.set.Confine[n].ID)
			}
		} else if t.rules[i].Matches(f) {
			v.Rules = append(v.Rules, t.set.Rules[i].ID)
		}
	}
	return v
}
