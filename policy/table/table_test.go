package table

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

// TestIndexLosesNothing holds the index against asking every entry.
func TestIndexLosesNothing(t *testing.T) {
	matched := 0
	for seed := range uint64(3000) {
		g := ruletest.New(seed)
		set := g.SetOf(int(seed%30), int(seed%4))
		table := Compile(set)
		for range 30 {
			f := g.Facts(set)
			var want rule.Votes
			for i := range table.rules {
				if table.rules[i].Matches(&f) {
					want.Rules = append(want.Rules, set.Rules[i].ID)
				}
			}
			for i := range table.confine {
				if table.confine[i].Matches(&f) {
					want.Confine = append(want.Confine, set.Confine[i].ID)
				}
			}
			matched += len(want.Rules)
			if diff := cmp.Diff(want, table.Votes(&f)); diff != "" {
				t.Fatalf("seed %d: every entry asked (-), through the index (+):\n%s\nfacts %+v", seed, diff, f)
			}
		}
	}
	if matched < 10_000 {
		t.Errorf("only %d rules matched: the test says nothing", matched)
	}
}

// BenchmarkVotes is one evaluation, of facts that match about one rule.
func BenchmarkVotes(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set, facts := realistic(n)
			table := Compile(set)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				table.Votes(&facts[i%len(facts)])
			}
		})
	}
}

// realistic is a policy as people write them: most rules name a program and a
// destination, some only one of both.
func realistic(n int) (*rule.Set, []rule.Facts) {
	rules := make([]rule.Rule, n)
	facts := make([]rule.Facts, n)
	for i := range rules {
		exe, host := fmt.Sprintf("/usr/bin/p%d", i/4), fmt.Sprintf("h%d.example%d.org", i, i%7)
		r := rule.Rule{ID: fmt.Sprintf("r%05d", i), Action: event.Action(1 + i%3), Mode: event.ModeEnforce}
		to := &rule.EndpointMatch{Port: []rule.PortRange{{First: 443, Last: 443}}, Proto: []string{"tcp"}}
		if i%10 != 0 {
			r.Match.Process = &rule.ProcessMatch{Exe: []rule.Pattern{{Text: exe, Kind: rule.PathPattern}}}
			if i%20 == 1 {
				r.Match.Process.Exe[0].Text = fmt.Sprintf("/opt/*/bin/p%d", i/4)
			}
		}
		if i%10 != 1 {
			to.Host = []rule.Host{{Kind: rule.HostKind(1 + i%3), Name: host}}
		}
		r.Match.To, r.Match.Direction = to, []event.Direction{event.Out}
		rules[i] = r
		f := rule.Facts{Direction: event.Out, Proto: "tcp"}
		f.Process = rule.Subject{Exe: exe, Kind: event.ExecutableFile, Name: "p", User: "root", HasUID: true, Unit: rule.None, Container: rule.None}
		f.Ancestors = []rule.Subject{{Exe: "/usr/bin/bash", Kind: event.ExecutableFile}, {Exe: "/usr/lib/systemd/systemd", Kind: event.ExecutableFile}}
		f.To.Port, f.To.HasPort, f.To.Names = 443, true, []rule.Name{{Domain: host, Trusted: true}}
		facts[i] = f
	}
	return rule.NewSet(rules, nil, nil, nil), facts
}
