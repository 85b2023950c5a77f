package history_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"snitch/policy/history"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

func TestSets(t *testing.T) {
	load := func(text string) *rule.Set {
		t.Helper()
		l, err := rule.Load(fstest.MapFS{"a.yaml": {Data: []byte("version: 1\n" + text)}}, rule.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return l.Set
	}
	a := load(`lists:
  bad: [a.example, b.example, 10.0.0.0/8]
confine:
  - {id: c, process: {exe: /a}}
rules:
  - {id: gone, action: deny, to: {port: 1}}
  - {id: kept, action: deny, to: {host: "@bad"}}
  - {id: moved, action: allow, process: {exe: /a}, to: {port: 1}}
`)
	b := load(`lists:
  bad: [b.example, c.example, d.example]
confine:
  - {id: c, mode: audit, process: {exe: /b}}
rules:
  - {id: moved, action: allow, reason: why, process: {exe: /a, user: x}, from: {port: 2}, expires: 2027-01-01T00:00:00Z}
  - {id: new, action: alert, to: {port: 1}}
  - {id: kept, action: deny, to: {host: "@bad"}}
`)
	var got []string
	for _, c := range history.Sets(a, b) {
		got = append(got, fmt.Sprint(c.How, " ", c.What, " ", c.ID, " ", c.Keys, " ", c.At))
	}
	want := []string{"removed rule gone [] a.yaml:7", "changed rule moved [reason expires process.user from to direction] a.yaml:7", "added rule new [] a.yaml:8",
		"changed confine c [mode process.exe] a.yaml:5", "changed list bad [names +2 -1 networks +0 -1] a.yaml:3"}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// TestSetsOfOne: a set does not differ from itself, and does from nearly every
// other.
func TestSetsOfOne(t *testing.T) {
	for seed := range uint64(100) {
		a, again, other := ruletest.New(seed).Set(), ruletest.New(seed).Set(), ruletest.New(seed+1000).SetOf(4, 2)
		if d := history.Sets(a, again); len(d) != 0 {
			t.Fatalf("seed %d: %+v", seed, d)
		}
		if d := history.Sets(a, other); len(d) == 0 {
			t.Fatalf("seed %d: another set is the same", seed)
		}
	}
}
