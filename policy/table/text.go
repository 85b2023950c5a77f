package table

import (
	"slices"

	"snitch/policy/rule"
)

// few is up to how many items a linear search is as fast as a hashed one.
const few = 8

// textSet is the patterns of one condition: a text is in it when one matches.
type textSet struct {
	few   []string // literals, when they are few
	many  map[string]struct{}
	globs []rule.Pattern
}

func newTextSet(patterns []rule.Pattern) textSet {
	var t textSet
	for _, p := range patterns {
		switch {
		case p.Literal():
			t.few = append(t.few, p.Text)
		default:
			t.globs = append(t.globs, p)
		}
	}
	if len(t.few) > few {
		t.many = make(map[string]struct{}, len(t.few))
		for _, s := range t.few {
			t.many[s] = struct{}{}
		}
		t.few = nil
	}
	return t
}

// has reports whether one of the patterns matches s. Nothing matches "".
func (t *textSet) has(s string) bool {
	if s == "" {
		return false
	}
	if t.many != nil {
		if _, ok := t.many[s]; ok {
			return true
		}
	} else if slices.Contains(t.few, s) {
		return true
	}
	for i := range t.globs {
		if t.globs[i].Match(s) {
			return true
		}
	}
	return false
}

func patternTexts(patterns []rule.Pattern) []string {
	out := make([]string, len(patterns))
	for i, p := range patterns {
		out[i] = p.Text
	}
	return out
}
