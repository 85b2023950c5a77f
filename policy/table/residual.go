package table

import (
	"fmt"
	"slices"
	"strings"

	"snitch/policy/rule"
)

// Residual is a rule, confine entry or custom module that the kernel's tables
// cannot decide alone.
type Residual struct {
	ID      string // of the rule or confine entry, "" of a module
	Pos     rule.Position
	Reasons []Reason
}

// Reason is one condition that needs user space, and why.
type Reason struct {
	Key string // "to.host", "except[1].process.cmdline", "" of a module
	Why string
	Pos rule.Position // of the key, where it is known, else as the Residual's
}

// String is what policy check prints: file:line:col, id and reasons.
func (r Residual) String() string {
	texts := make([]string, len(r.Reasons))
	for i, reason := range r.Reasons {
		texts[i] = reason.Why
		if reason.Key != "" {
			texts[i] = reason.Key + ": " + reason.Why
		}
	}
	head := r.Pos.String()
	if r.ID != "" {
		head += ": " + r.ID
	}
	return head + ": " + strings.Join(texts, "; ")
}

// Residuals are what of a set needs user space, by position. Rules of mode
// audit count, as they would once enforced.
func Residuals(set *rule.Set) []Residual {
	var out []Residual
	add := func(id string, pos rule.Position, reasons []Reason) {
		if len(reasons) > 0 {
			out = append(out, Residual{id, pos, reasons})
		}
	}
	for i := range set.Rules {
		r := &set.Rules[i]
		add(r.ID, r.Pos, clauseReasons(compileRule(r, set.Lists), r.At))
	}
	for i := range set.Confine {
		c := &set.Confine[i]
		add(c.ID, c.Pos, clauseReasons(compileConfine(c), func(string) rule.Position { return c.Pos }))
	}
	for _, m := range set.Modules {
		if !m.Test {
			pos := rule.Position{File: m.File, Line: 1, Col: 1}
			add("", pos, []Reason{{Why: "custom Rego runs in user space, and may vote on every connection", Pos: pos}})
		}
	}
	slices.SortStableFunc(out, func(a, b Residual) int {
		if c := strings.Compare(a.Pos.File, b.Pos.File); c != 0 {
			return c
		}
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Col - b.Pos.Col
	})
	return out
}

func clauseReasons(c Clause, at func(key string) rule.Position) []Reason {
	reasons := condReasons("", c.Match.conds)
	for i, m := range c.Except {
		reasons = append(reasons, condReasons(fmt.Sprintf("except[%d].", i), m.conds)...)
	}
	for i := range reasons {
		reasons[i].Pos = at(reasons[i].Key)
	}
	return reasons
}

// condReasons must name what judge, and kernelMatch with it, leave unknown.
func condReasons(prefix string, conds []cond) []Reason {
	var out []Reason
	for _, c := range conds {
		why := ""
		switch t := c.test.(type) {
		case *hostTest:
			if t.set.anyName {
				why = "the kernel knows addresses, not names"
			}
		case *countryTest:
			why = "the kernel knows no countries"
		case noveltyTest:
			why = "what is new is known from the record"
		case *textTest:
			if t.field.name == cmdline {
				why = "processes of one class differ in their command lines"
			}
		case *ancestorTest:
			out = append(out, condReasons(prefix+c.key+".", withoutHead(t.conds))...)
		}
		if why != "" {
			out = append(out, Reason{Key: prefix + c.key, Why: why})
		}
	}
	return out
}

// withoutHead cuts "ancestor." off the keys of an ancestor's conditions.
func withoutHead(conds []cond) []cond {
	out := slices.Clone(conds)
	for i := range out {
		_, out[i].key, _ = strings.Cut(out[i].key, ".")
	}
	return out
}
