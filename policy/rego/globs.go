package rego

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"snitch/policy/rule"
)

// patterns finds the conditions on one fact that hold, given the fact. A
// pattern is looked for by the literal text before its first star, else by
// that behind its last one; only what has neither is tried on every fact.
type patterns struct {
	literals map[string][]*ast.Term
	prefixes affixes
	suffixes affixes
	rest     []patternItem
}

type patternItem struct {
	pattern rule.Pattern
	term    *ast.Term
}

// affixes are patterns by their literal beginning or end. Lengths are the
// distinct lengths of the keys, ascending.
type affixes struct {
	items   map[string][]patternItem
	lengths []int
}

// add makes term hold for every fact that p matches.
func (ps *patterns) add(p rule.Pattern, term *ast.Term) {
	if p.Literal() {
		if ps.literals == nil {
			ps.literals = map[string][]*ast.Term{}
		}
		ps.literals[p.Text] = append(ps.literals[p.Text], term)
		return
	}
	item := patternItem{p, term}
	if prefix := p.Text[:strings.IndexByte(p.Text, '*')]; prefix != "" {
		ps.prefixes.add(prefix, item)
	} else if suffix := p.Text[strings.LastIndexByte(p.Text, '*')+1:]; suffix != "" {
		ps.suffixes.add(suffix, item)
	} else {
		ps.rest = append(ps.rest, item)
	}
}

func (a *affixes) add(key string, item patternItem) {
	if a.items == nil {
		a.items = map[string][]patternItem{}
	}
	a.items[key] = append(a.items[key], item)
	if at, known := slices.BinarySearch(a.lengths, len(key)); !known {
		a.lengths = slices.Insert(a.lengths, at, len(key))
	}
}

// match appends the terms of what matches s; a term may come twice.
func (ps *patterns) match(s string, to []*ast.Term) []*ast.Term {
	if s == "" {
		return to
	}
	to = append(to, ps.literals[s]...)
	for _, n := range ps.prefixes.lengths {
		if n > len(s) {
			break
		}
		to = matching(ps.prefixes.items[s[:n]], s, to)
	}
	for _, n := range ps.suffixes.lengths {
		if n > len(s) {
			break
		}
		to = matching(ps.suffixes.items[s[len(s)-n:]], s, to)
	}
	return matching(ps.rest, s, to)
}

func matching(items []patternItem, s string, to []*ast.Term) []*ast.Term {
	for _, item := range items {
		if item.pattern.Match(s) {
			to = append(to, item.term)
		}
	}
	return to
}

// ranges finds the conditions on a number that hold. Items are sorted by first.
type ranges []rangeItem

type rangeItem struct {
	first, last uint32
	term        *ast.Term
}

func (rs ranges) match(v uint32, to []*ast.Term) []*ast.Term {
	for _, r := range rs {
		if r.first > v {
			break
		}
		if v <= r.last {
			to = append(to, r.term)
		}
	}
	return to
}

func (rs ranges) sort() {
	slices.SortFunc(rs, func(a, b rangeItem) int { return int(int64(a.first) - int64(b.first)) })
}
