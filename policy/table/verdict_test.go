package table

import (
	"slices"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// TestEntryOfAllVotes tries every state of knowledge of two rules of each
// action and two confine entries: an entry must agree with every decision that
// is still possible, and be Ask only when these differ in their action.
func TestEntryOfAllVotes(t *testing.T) {
	rules := []rule.Rule{{ID: "b", Action: event.ActionDeny}, {ID: "f", Action: event.ActionDeny}, {ID: "c", Action: event.ActionAlert},
		{ID: "g", Action: event.ActionAlert}, {ID: "d", Action: event.ActionAllow}, {ID: "h", Action: event.ActionAllow}}
	for i := range rules {
		rules[i].Mode = event.ModeEnforce
	}
	confine := []rule.Confine{{ID: "a", Mode: event.ModeEnforce}, {ID: "e", Mode: event.ModeEnforce}}
	set := rule.NewSet(slices.Clone(rules), slices.Clone(confine), nil, nil)
	asks := 0
	for code := range 6561 { // 3 to the 8th
		var known [8]tri
		for i, c := 0, code; i < len(known); i, c = i+1, c/3 {
			known[i] = tri(c % 3)
		}
		tl := tally{stable: true}
		for i, r := range rules {
			if known[i] != no {
				tl.vote(r.Action, r.ID, known[i])
			}
		}
		for i, c := range confine {
			tl.confine(c.ID, known[len(rules)+i])
		}
		e := tl.entry()
		decisions := possible(set, rules, confine, known)
		same := !slices.ContainsFunc(decisions, func(d rule.Decision) bool { return d.Action != decisions[0].Action })
		if e.Verdict == Ask {
			asks++
			if same {
				t.Fatalf("%v: asks, though it is %s in any case", known, decisions[0].Action)
			}
			continue
		}
		for _, d := range decisions {
			if d.Action != e.Verdict.Action() || e.Exact && d.Rule != e.Rule {
				t.Fatalf("%v: entry %+v, but %s by %q is possible", known, e, d.Action, d.Rule)
			}
		}
	}
	if asks < 500 {
		t.Errorf("only %d ask: the test says little", asks)
	}
}

// possible are the decisions for each way in which the unknown may turn out.
func possible(set *rule.Set, rules []rule.Rule, confine []rule.Confine, known [8]tri) (out []rule.Decision) {
	for bits := range 1 << len(known) {
		var v rule.Votes
		valid := true
		for i, k := range known {
			holds := bits>>i&1 == 1
			valid = valid && (k == unknown || holds == (k == yes))
			switch {
			case !holds:
			case i < len(rules):
				v.Rules = append(v.Rules, rules[i].ID)
			default:
				v.Confine = append(v.Confine, confine[i-len(rules)].ID)
			}
		}
		if valid {
			out = append(out, set.Combine(v, time.Time{}))
		}
	}
	return out
}
