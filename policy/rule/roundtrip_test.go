package rule_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

// sameRules compares what sets say, not where they were read.
var sameRules = cmp.Options{
	cmpopts.IgnoreTypes(rule.Position{}), cmpopts.IgnoreUnexported(rule.Rule{}), cmpopts.EquateEmpty(), cmpopts.EquateComparable(rule.Host{}),
	cmp.Comparer(func(a, b *rule.List) bool {
		return a.Name == b.Name && cmp.Equal(items(a), items(b), cmpopts.EquateComparable(rule.Host{}))
	}),
}

func items(l *rule.List) []rule.Host {
	var out []rule.Host
	for h := range l.Names() {
		out = append(out, h)
	}
	for p := range l.Nets() {
		out = append(out, rule.Host{Kind: rule.HostNet, Net: p})
	}
	return out
}

// TestRoundTrip holds that a set survives being written and read.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := ruletest.New(rapid.Uint64().Draw(t, "seed")).Set()
		src, err := rule.Marshal(set, rule.Comments{Head: "made by a test", Rules: map[string]string{"r1": "twice\nseen: 2", "c0": "# held"}})
		if err != nil {
			t.Fatal(err)
		}
		read, err := rule.Parse("x.yaml", src)
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		if diff := cmp.Diff(set, read.Set, sameRules); diff != "" {
			t.Fatalf("another set came back (-wrote +read):\n%s\n%s", diff, src)
		}
		if len(read.Warnings) > 0 {
			t.Fatalf("warnings of our own file: %v\n%s", read.Warnings, src)
		}
		again, err := rule.Format("x.yaml", src)
		if err != nil || !bytes.Equal(again, src) {
			t.Fatalf("Marshal and Format disagree: %v\nMarshal:\n%s\nFormat:\n%s", err, src, again)
		}
	})
}
