package rego

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

// TestAgainstReference compares OPA with the words of the rules on random sets.
func TestAgainstReference(t *testing.T) {
	sets, facts := 300, 40
	if testing.Short() {
		sets = 60
	}
	matched := 0
	for seed := range sets {
		g := ruletest.New(uint64(seed))
		set := g.Set()
		e, err := New(t.Context(), set)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for range facts {
			f := g.Facts(set)
			got, err := e.Votes(t.Context(), &f)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			want := reference(set, &f)
			matched += len(want.Rules) + len(want.Confine)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d: votes (-want +got):\n%s\nfacts %+v\nmodule:\n%s", seed, diff, f, exported(t, set))
			}
		}
	}
	if matched < sets*facts/10 {
		t.Errorf("only %d matches in %d evaluations: the test shows little", matched, sets*facts)
	}
}

func exported(t *testing.T, set *rule.Set) string {
	t.Helper()
	text, err := Export(set)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
