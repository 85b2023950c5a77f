package lint

import (
	"slices"
	"testing"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

// possible makes random facts such as the engine could have made: a protocol
// without ports has none, a listener has one end, no script has no digest.
func possible(f rule.Facts) rule.Facts {
	if portless(f.Proto) {
		f.From.HasPort, f.To.HasPort = false, false
	}
	if f.Direction == event.Listen {
		f.From = rule.Endpoint{}
	}
	if f.Process.Script == rule.None {
		f.Process.ScriptSHA256 = event.Digest{}
	}
	f.Ancestors = slices.Clone(f.Ancestors)
	for i := range f.Ancestors {
		if f.Ancestors[i].Script == rule.None {
			f.Ancestors[i].ScriptSHA256 = event.Digest{}
		}
	}
	if f.Direction != event.Listen {
		f.Novelty = slices.DeleteFunc(slices.Clone(f.Novelty), func(n rule.Novelty) bool { return n == rule.NoveltyListener })
	}
	return f
}

func without(set *rule.Set, id string) *rule.Set {
	rules := slices.DeleteFunc(slices.Clone(set.Rules), func(r rule.Rule) bool { return r.ID == id })
	confine := slices.DeleteFunc(slices.Clone(set.Confine), func(c rule.Confine) bool { return c.ID == id })
	lists := []*rule.List{set.Lists["one"], set.Lists["two"]}
	return rule.NewSet(rules, confine, lists, nil)
}

// related makes a set some of whose rules are others with conditions dropped:
// independent random rules hardly ever lie inside each other.
func related(g *ruletest.Gen) *rule.Set {
	set := g.Set()
	rules := slices.Clone(set.Rules)
	for i := range set.Rules {
		wider := set.Rules[i]
		wider.ID += "-wider"
		wider.Action = event.Action(1 + i%3)
		wider.Match = weaken(wider.Match, i)
		if wider.Action == event.ActionAllow {
			wider.Except = nil
		}
		rules = append(rules, wider)
	}
	return rule.NewSet(rules, set.Confine, []*rule.List{set.Lists["one"], set.Lists["two"]}, nil)
}

func weaken(m rule.Match, n int) rule.Match {
	switch n % 5 {
	case 0:
		m.Process = nil
	case 1:
		m.To = nil
	case 2:
		m.Direction, m.Novelty = nil, nil
	case 3:
		if m.To != nil {
			to := *m.To
			to.Host, to.Country = nil, nil
			m.To = &to
		}
	case 4:
		if m.Process != nil {
			p := *m.Process
			p.Parent, p.Exe, p.Kind = nil, nil, nil
			m.Process = &p
		}
	}
	return m
}

// TestSuperfluousChangesNothing removes what is called dead, redundant or
// shadowed, and wants every action to stay.
func TestSuperfluousChangesNothing(t *testing.T) {
	sets, facts := 800, 40
	if testing.Short() {
		sets = 400
	}
	found := map[string]int{}
	for seed := range sets {
		g := ruletest.New(uint64(seed))
		set := related(g)
		full := table.Compile(set)
		for _, f := range Check(set, Config{Now: ruletest.Epoch}) {
			if !slices.Contains([]string{CheckDead, CheckRedundant, CheckShadowed, CheckExpired}, f.Check) {
				continue
			}
			found[f.Check]++
			less := without(set, f.Rule)
			rest := table.Compile(less)
			for range facts {
				x := possible(g.Facts(set))
				got, want := less.Combine(rest.Votes(&x), ruletest.Epoch), set.Combine(full.Votes(&x), ruletest.Epoch)
				if got.Action != want.Action {
					t.Fatalf("seed %d: without %s (%s: %s) the action is %s, was %s by %s\nfacts %+v", seed, f.Rule, f.Check, f.Message, got.Action, want.Action, want.Rule, x)
				}
			}
		}
	}
	for _, check := range []string{CheckDead, CheckRedundant, CheckShadowed, CheckExpired} {
		if found[check] < 20 {
			t.Errorf("%s was found %d times only: the test proves nothing", check, found[check])
		}
	}
}

// TestDeadMatchesNothing is stronger for what is dead: it has no vote at all.
func TestDeadMatchesNothing(t *testing.T) {
	dead := 0
	for seed := range 2000 {
		g := ruletest.New(uint64(seed))
		set := g.Set()
		var ids []string
		for _, f := range Check(set, Config{Now: ruletest.Epoch}) {
			if f.Check == CheckDead {
				ids = append(ids, f.Rule)
			}
		}
		if len(ids) == 0 {
			continue
		}
		dead += len(ids)
		all := table.Compile(set)
		for range 200 {
			f := possible(g.Facts(set))
			v := all.Votes(&f)
			for _, id := range slices.Concat(v.Rules, v.Confine) {
				if slices.Contains(ids, id) {
					t.Fatalf("seed %d: %s is dead and matches %+v", seed, id, f)
				}
			}
		}
	}
	if dead < 20 {
		t.Errorf("%d dead rules only", dead)
	}
}

// clause compiles a match as one of a rule that believes trusted names only, or
// all.
func clause(set *rule.Set, m rule.Match, trusted bool) *table.Clause {
	r := rule.Rule{ID: "x", Action: event.ActionDeny, Mode: event.ModeEnforce, Match: m}
	if trusted {
		r.Action = event.ActionAllow
	}
	return table.Compile(rule.NewSet([]rule.Rule{r}, nil, []*rule.List{set.Lists["one"], set.Lists["two"]}, nil)).Rule(0)
}

// TestInsideAndMeet holds the two comparisons against evaluation: what is inside
// matches nothing more, and what does not meet matches nothing together.
func TestInsideAndMeet(t *testing.T) {
	inside, apart := 0, 0
	for seed := range 4000 {
		g := ruletest.New(uint64(seed))
		set := g.SetOf(2, 0)
		a, b := set.Rules[0].Match, set.Rules[1].Match
		if seed%2 == 0 {
			b = weaken(a, seed/2)
		}
		wa, wb := world{set.Lists, seed%3 == 0}, world{set.Lists, seed%4 == 0}
		in, meet := matchInside(&a, &b, wa, wb), matchesMeet(&a, &b)
		if !in && meet {
			continue
		}
		if in {
			inside++
		}
		if !meet {
			apart++
		}
		ca, cb, anyA, anyB := clause(set, a, wa.trusted), clause(set, b, wb.trusted), clause(set, a, false), clause(set, b, false)
		for range 50 {
			f := g.Facts(set)
			if in && ca.Matches(&f) && !cb.Matches(&f) {
				t.Fatalf("seed %d: inside, but only the first matches %+v\na %+v\nb %+v", seed, f, a, b)
			}
			if !meet && anyA.Matches(&f) && anyB.Matches(&f) {
				t.Fatalf("seed %d: apart, but both match %+v", seed, f)
			}
		}
	}
	if inside < 300 || apart < 100 {
		t.Errorf("%d inside, %d apart: the test proves nothing", inside, apart)
	}
}
