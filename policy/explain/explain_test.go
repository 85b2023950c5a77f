package explain

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

// TestClaims tries every claim of explanations of random sets: each change is
// made and each rule removed.
func TestClaims(t *testing.T) {
	sets, facts := 1000, 5
	if testing.Short() {
		sets = 200
	}
	var seen struct{ flips, near, removals, exceptions int }
	for seed := range uint64(sets) {
		g := ruletest.New(seed)
		set := g.Set()
		for range facts {
			f := g.Facts(set)
			e := Explain(table.Compile(set), &f, ruletest.Epoch)
			if err := claims(set, f, e); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, dump(set, f, e))
			}
			seen.near += len(e.NearMisses)
			seen.removals += len(e.Removals)
			seen.exceptions += len(e.Exceptions)
			if e.Flip != nil {
				seen.flips++
			}
		}
	}
	t.Logf("tried %+v", seen)
	if seen.flips < sets || seen.near < sets || seen.removals < sets/10 || seen.exceptions < sets/50 {
		t.Error("too few claims were made: the test says little")
	}
}

// decide is the decision by a table that is made for it.
func decide(set *rule.Set, f *rule.Facts) rule.Decision {
	return set.Combine(table.Compile(set).Votes(f), ruletest.Epoch)
}

// claims tries all claims of one explanation.
func claims(set *rule.Set, f rule.Facts, e *Explanation) error {
	is := decide(set, &f)
	if e.Action != is.Action.String() || e.Rule != is.Rule || len(e.Matches) != len(is.Matches) {
		return fmt.Errorf("explains %s by %q, the decision is %s by %q", e.Action, e.Rule, is.Action, is.Rule)
	}
	if e.Flip != nil {
		g := f
		for _, c := range e.Flip.Changes {
			c.Apply(&g)
		}
		if d := decide(set, &g); d.Action == is.Action || d.Action.String() != e.Flip.Action || d.Rule != e.Flip.Rule {
			return fmt.Errorf("the flip makes it %s by %q, not %s by %q", d.Action, d.Rule, e.Flip.Action, e.Flip.Rule)
		}
	}
	for _, n := range e.NearMisses {
		if err := nearClaim(set, f, n); err != nil {
			return err
		}
	}
	return removalClaims(set, f, e, is)
}

// nearClaim makes the change of a near miss.
func nearClaim(set *rule.Set, f rule.Facts, n NearMiss) error {
	votes := func() bool {
		v := table.Compile(set).Votes(&f)
		return slices.Contains(v.Rules, n.ID) || slices.Contains(v.Confine, n.ID)
	}
	if votes() {
		return fmt.Errorf("near miss %s matches", n.ID)
	}
	if n.Change.Apply(&f); !votes() {
		return fmt.Errorf("near miss %s does not match with %s %q", n.ID, n.Change.Key, n.Change.To)
	}
	return nil
}

// removalClaims removes every rule in turn: exactly those that are claimed
// change the action.
func removalClaims(set *rule.Set, f rule.Facts, e *Explanation, is rule.Decision) error {
	for i := range set.Rules {
		less := *set
		less.Rules = slices.Delete(slices.Clone(set.Rules), i, i+1)
		if err := removalClaim(set.Rules[i].ID, decide(&less, &f), e, is); err != nil {
			return err
		}
	}
	for i := range set.Confine {
		less := *set
		less.Confine = slices.Delete(slices.Clone(set.Confine), i, i+1)
		if err := removalClaim(set.Confine[i].ID, decide(&less, &f), e, is); err != nil {
			return err
		}
	}
	return nil
}

func removalClaim(id string, then rule.Decision, e *Explanation, is rule.Decision) error {
	at := slices.IndexFunc(e.Removals, func(r Removal) bool { return r.ID == id })
	switch {
	case at < 0 && then.Action != is.Action:
		return fmt.Errorf("without %s it is %s, which is not claimed", id, then.Action)
	case at >= 0 && then.Action.String() != e.Removals[at].Action:
		return fmt.Errorf("without %s it is %s, not %s", id, then.Action, e.Removals[at].Action)
	}
	return nil
}

func dump(set *rule.Set, f rule.Facts, e *Explanation) []byte {
	b, _ := json.MarshalIndent(map[string]any{"rules": set.Rules, "confine": set.Confine, "facts": f, "explanation": e}, "", " ")
	return b
}

// TestFlipIsSmallest tries every combination of a small alphabet of facts: none
// with fewer changes than the flip makes it another action, and where there is
// one there is a flip.
func TestFlipIsSmallest(t *testing.T) {
	sets := 1500
	if testing.Short() {
		sets = 150
	}
	var flips [MaxChanges + 1]int
	for seed := range uint64(sets) {
		s := newSmall(seed)
		set := s.set()
		tab := table.Compile(set)
		f, at := s.facts()
		e := Explain(tab, &f, time.Time{})
		least := s.brute(tab, set, at)
		switch {
		case e.Flip != nil && len(e.Flip.Changes) > least:
			t.Fatalf("seed %d: %d changes are enough, not %d\n%s", seed, least, len(e.Flip.Changes), dump(set, f, e))
		case e.Flip == nil && least <= e.FlipSearched:
			t.Fatalf("seed %d: %d changes are enough, none was found of %d\n%s", seed, least, e.FlipSearched, dump(set, f, e))
		case e.Flip != nil:
			flips[len(e.Flip.Changes)]++
			if err := claims(set, f, e); err != nil && seed%10 == 0 {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
	t.Logf("flips by size: %v", flips)
	if flips[1] < sets/10 || flips[2] < sets/50 || flips[3] == 0 {
		t.Error("too few flips of some size: the test says little")
	}
}

// BenchmarkExplain is one explanation of an allowed connection: most rules name
// a program and a host.
func BenchmarkExplain(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rules := make([]rule.Rule, n)
			for i := range rules {
				rules[i] = rule.Rule{ID: fmt.Sprintf("r%05d", i), Action: event.Action(1 + i%3), Mode: event.ModeEnforce, Match: rule.Match{
					Process: &rule.ProcessMatch{Exe: []rule.Pattern{{Text: fmt.Sprintf("/usr/bin/p%d", i/4), Kind: rule.PathPattern}}},
					To:      &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostSuffix, Name: fmt.Sprintf("h%d.example.org", i)}}}}}
			}
			tab := table.Compile(rule.NewSet(rules, nil, nil, nil))
			f := rule.Facts{Process: rule.Subject{Exe: "/usr/bin/p0", Kind: event.ExecutableFile}, Direction: event.Out, Proto: "tcp"}
			f.To.Names = []rule.Name{{Domain: "h0.example.org", Trusted: true}}
			for b.Loop() {
				Explain(tab, &f, ruletest.Epoch)
			}
		})
	}
}
