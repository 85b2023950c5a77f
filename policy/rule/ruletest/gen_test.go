package ruletest_test

import (
	"reflect"
	"testing"

	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

// TestRepeats holds that a seed names its values.
func TestRepeats(t *testing.T) {
	for seed := range uint64(50) {
		a, b := ruletest.New(seed), ruletest.New(seed)
		sa, sb := a.Set(), b.Set()
		if !reflect.DeepEqual(sa.Rules, sb.Rules) || !reflect.DeepEqual(sa.Confine, sb.Confine) {
			t.Fatalf("seed %d made two different sets", seed)
		}
		if fa, fb := a.Facts(sa), b.Facts(sb); !reflect.DeepEqual(fa, fb) {
			t.Fatalf("seed %d made two different facts:\n%+v\n%+v", seed, fa, fb)
		}
	}
}

// TestHitsAndMisses holds that exe conditions, the commonest ones, are hit,
// missed and absent often enough to mean something.
func TestHitsAndMisses(t *testing.T) {
	g := ruletest.New(1)
	var hit, miss, absent int
	for range 2000 {
		s := g.Set()
		f := g.Facts(s)
		for _, r := range s.Rules {
			if r.Match.Process == nil || len(r.Match.Process.Exe) == 0 {
				continue
			}
			switch matches := anyMatch(r.Match.Process.Exe, f.Process.Exe); {
			case f.Process.Exe == "":
				absent++
			case matches:
				hit++
			default:
				miss++
			}
		}
	}
	if total := hit + miss + absent; hit < total/10 || miss < total/10 || absent < total/20 {
		t.Errorf("hit %d, missed %d, absent %d: too one-sided", hit, miss, absent)
	}
}

func anyMatch(patterns []rule.Pattern, s string) bool {
	for _, p := range patterns {
		if p.Match(s) {
			return true
		}
	}
	return false
}
