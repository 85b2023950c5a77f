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
	rules   []entry // parallel to set.Rules
	confine []entry // parallel to set.Confine
	index   *index  // of rules and, behind them, confine
}

// entry is a compiled rule or confine entry.
type entry struct {
	conds  []cond
	except [][]cond
}

func (e *entry) matches(f *rule.Facts) bool {
	if !all(e.conds, f, 0) {
		return false
	}
	for i := range e.except {
		if all(e.except[i], f, 0) {
			return false
		}
	}
	return true
}

// Compile makes a Table. It keeps the set, which must not change any more.
func Compile(set *rule.Set) *Table {
	t := &Table{set: set, rules: make([]entry, len(set.Rules)), confine: make([]entry, len(set.Confine))}
	for i := range set.Rules {
		r := &set.Rules[i]
		e := entry{conds: compileMatch(&r.Match, set.Lists, r.Action == event.ActionAllow)}
		for j := range r.Except {
			e.except = append(e.except, compileMatch(&r.Except[j], set.Lists, true))
		}
		t.rules[i] = e
	}
	for i := range set.Confine {
		c := &set.Confine[i]
		e := entry{conds: compileProcess(c.Process, "process", 0)}
		for j := range c.Except {
			e.except = append(e.except, compileProcess(&c.Except[j], "process", 0))
		}
		t.confine[i] = e
	}
	t.index = newIndex(slices.Concat(t.rules, t.confine))
	return t
}

// Set is the set that t was made of.
func (t *Table) Set() *rule.Set { return t.set }

// Votes are the rules and confine entries that match f, in the order of their
// ids. Custom modules do not vote here.
func (t *Table) Votes(f *rule.Facts) rule.Votes {
	var buf [64]int32
	var v rule.Votes
	for _, i := range t.index.candidates(f, buf[:0]) {
		if n := int(i) - len(t.rules); n >= 0 {
			if t.confine[n].matches(f) {
				v.Confine = append(v.Confine, t.set.Confine[n].ID)
			}
		} else if t.rules[i].matches(f) {
			v.Rules = append(v.Rules, t.set.Rules[i].ID)
		}
	}
	return v
}
