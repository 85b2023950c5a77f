package policy

import (
	"slices"
	"testing"

	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

// TestInputDecides holds what keys of the cache and recorded inputs rest on:
// facts with one input, and the same novelty, have the same votes.
func TestInputDecides(t *testing.T) {
	sets, pairs := 400, 0
	if testing.Short() {
		sets = 60
	}
	for seed := range uint64(sets) {
		g := ruletest.New(seed)
		set := g.Set()
		if len(set.Modules) > 0 {
			continue
		}
		native, reads := table.Compile(set), set.Reads()
		first := map[uint64]rule.Facts{}
		for range 200 {
			f := g.Facts(set)
			f.Novelty = nil
			input := reads.Input(&f)
			other, known := first[input]
			if !known {
				first[input] = f
				continue
			}
			pairs++
			a, b := native.Votes(&f), native.Votes(&other)
			if !slices.Equal(a.Rules, b.Rules) || !slices.Equal(a.Confine, b.Confine) {
				t.Fatalf("seed %d: one input, but %v and %v:\n%+v\n%+v", seed, a, b, f, other)
			}
		}
	}
	t.Logf("%d pairs", pairs)
	if pairs < sets {
		t.Errorf("only %d pairs had one input: the test says little", pairs)
	}
}
