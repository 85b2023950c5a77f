package history

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"snitch/policy/rule"
)

// Change is one difference between two rule sets.
type Change struct {
	ID   string        `json:"id"`
	What string        `json:"what"` // rule, confine, list or module
	How  string        `json:"how"`  // added, removed or changed
	Keys []string      `json:"keys"` // that differ, of a changed rule
	Pos  rule.Position `json:"-"`    // in the second set; of what was removed in the first
	At   string        `json:"at"`
}

// Sets lists the differences between two rule sets, by id.
func Sets(a, b *rule.Set) (out []Change) {
	compare(&out, "rule", byID(a.Rules, func(r *rule.Rule) string { return r.ID }), byID(b.Rules, func(r *rule.Rule) string { return r.ID }), ruleKeys,
		func(r *rule.Rule) rule.Position { return r.Pos })
	compare(&out, "confine", byID(a.Confine, func(c *rule.Confine) string { return c.ID }), byID(b.Confine, func(c *rule.Confine) string { return c.ID }), confineKeys,
		func(c *rule.Confine) rule.Position { return c.Pos })
	compare(&out, "list", a.Lists, b.Lists, listKeys, func(l *rule.List) rule.Position { return l.Pos })
	compare(&out, "module", byID(a.Modules, func(m *rule.Module) string { return m.File }), byID(b.Modules, func(m *rule.Module) string { return m.File }),
		func(x, y *rule.Module) []string { return differing("source", string(x.Source), string(y.Source)) },
		func(m *rule.Module) rule.Position { return rule.Position{File: m.File, Line: 1, Col: 1} })
	return out
}

func byID[T any](items []T, id func(*T) string) map[string]*T {
	out := make(map[string]*T, len(items))
	for i := range items {
		out[id(&items[i])] = &items[i]
	}
	return out
}

func compare[T any](out *[]Change, what string, a, b map[string]*T, keys func(x, y *T) []string, pos func(*T) rule.Position) {
	ids := maps.Clone(a)
	if ids == nil {
		ids = make(map[string]*T)
	}
	maps.Copy(ids, b)
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		x, y := a[id], b[id]
		c := Change{ID: id, What: what, How: "changed", Keys: []string{}, Pos: pos(ids[id])}
		switch {
		case x == nil:
			c.How = "added"
		case y == nil:
			c.How = "removed"
		default:
			if c.Keys = keys(x, y); len(c.Keys) == 0 {
				continue
			}
		}
		c.At = c.Pos.Short()
		*out = append(*out, c)
	}
}

func differing(key string, x, y any) []string {
	if reflect.DeepEqual(x, y) {
		return nil
	}
	return []string{key}
}

func ruleKeys(x, y *rule.Rule) []string {
	return slices.Concat(differing("action", x.Action, y.Action), differing("mode", x.Mode, y.Mode), differing("reason", x.Reason, y.Reason),
		expiryKeys(x.Expires, y.Expires), processKeys("process", x.Match.Process, y.Match.Process), endpointKeys("from", x.Match.From, y.Match.From),
		endpointKeys("to", x.Match.To, y.Match.To), differing("direction", x.Match.Direction, y.Match.Direction),
		differing("novelty", x.Match.Novelty, y.Match.Novelty), differing("except", x.Except, y.Except))
}

func confineKeys(x, y *rule.Confine) []string {
	return slices.Concat(differing("mode", x.Mode, y.Mode), differing("reason", x.Reason, y.Reason), expiryKeys(x.Expires, y.Expires),
		processKeys("process", x.Process, y.Process), differing("except", x.Except, y.Except))
}

func expiryKeys(x, y time.Time) []string {
	if x.Equal(y) {
		return nil
	}
	return []string{"expires"}
}

func processKeys(key string, x, y *rule.ProcessMatch) []string {
	if x == nil || y == nil {
		return differing(key, x == nil, y == nil)
	}
	return fieldKeys(key, *x, *y)
}

func endpointKeys(key string, x, y *rule.EndpointMatch) []string {
	if x == nil || y == nil {
		return differing(key, x == nil, y == nil)
	}
	return fieldKeys(key, *x, *y)
}

// fieldKeys names the keys of a match by its fields, as rules write them.
func fieldKeys(key string, x, y any) (out []string) {
	a, b := reflect.ValueOf(x), reflect.ValueOf(y)
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			out = append(out, key+"."+strings.ToLower(a.Type().Field(i).Name))
		}
	}
	return out
}

// listKeys says how many names and networks came and went.
func listKeys(x, y *rule.List) []string {
	var out []string
	for _, c := range []moved{missing("names", x.Names, y.Names), missing("networks", x.Nets, y.Nets)} {
		if c.gone+c.added > 0 {
			out = append(out, fmt.Sprintf("%s +%d -%d", c.what, c.added, c.gone))
		}
	}
	return out
}

type moved struct {
	what        string
	gone, added int
}

// missing counts what is in one list only.
func missing[T comparable](what string, x, y func() iter.Seq[T]) (c moved) {
	c.what = what
	have := make(map[T]bool)
	for v := range x() {
		have[v] = true
		c.gone++
	}
	for v := range y() {
		if have[v] {
			c.gone--
		} else {
			c.added++
		}
	}
	return c
}
