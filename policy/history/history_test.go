package history_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/policy/history"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

var base = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// native decides by the table, which is proven equal to OPA elsewhere.
type native struct{ t *table.Table }

func (n native) Decide(_ context.Context, f *rule.Facts, now time.Time) rule.Decision {
	return n.t.Set().Combine(n.t.Votes(f), now)
}

func policyOf(set *rule.Set) *history.Policy {
	return history.NewPolicy(set, native{table.Compile(set)})
}

// one is a recorded connection.
type one struct {
	facts    rule.Facts
	decision event.Decision
	at       time.Time
	input    uint64
	old      bool
	sent     uint64
}

func (o *one) Facts() (rule.Facts, bool, error)  { return o.facts, !o.old, nil }
func (o *one) Decision() (event.Decision, error) { return o.decision, nil }

// record is a history in memory; each row has a key of its own, or that of the
// row it repeats.
type record []one

func (r record) Rows(_ context.Context, _ bool, f func(*history.Row) error) error {
	for i := range r {
		row := history.Row{Key: history.Key{int64(i)}, Opened: r[i].at.UnixNano(), Last: r[i].at.UnixNano() + 5, At: r[i].at.UnixNano(),
			Input: r[i].input, Sent: r[i].sent, Decided: int64(i), Lazy: &r[i]}
		if err := f(&row); err != nil {
			return err
		}
	}
	return nil
}

// decided records facts as the daemon would have under set.
func decided(set *rule.Set, f rule.Facts, at time.Time) one {
	d := native{table.Compile(set)}.Decide(context.Background(), &f, at)
	reads := set.Reads()
	return one{facts: f, at: at, sent: 10, input: reads.Input(&f),
		decision: event.Decision{Action: d.Action, Would: d.Action, Rule: d.Rule, Revision: "r"}}
}

// TestReplayReproduces: by its own rules every row comes out as it was, at
// whatever time; and a candidate that is the same changes nothing.
func TestReplayReproduces(t *testing.T) {
	undecided := uint64(0)
	for seed := range uint64(200) {
		g := ruletest.New(seed)
		set := g.Set()
		var rows record
		for i := range 60 {
			rows = append(rows, decided(set, g.Facts(set), base.AddDate(0, 0, 30*i-900)))
		}
		rules := history.Rules{Sets: map[string][]*history.Policy{"r": {policyOf(set)}}}
		for name, f := range map[string]func() (*history.Report, error){
			"replay": func() (*history.Report, error) { return history.Replay(t.Context(), rows, &rules, nil) },
			"try":    func() (*history.Report, error) { return history.Try(t.Context(), rows, &rules, policyOf(set), nil) },
			"compare": func() (*history.Report, error) {
				return history.Compare(t.Context(), rows, policyOf(set), policyOf(set), nil)
			},
		} {
			got, err := f()
			if err != nil {
				t.Fatal(err)
			}
			if got.Differs() || got.Same.Connections != 60 || got.Rows.Connections != 60 || got.Same.Sent != 600 {
				t.Fatalf("seed %d: %s: %+v", seed, name, got)
			}
			undecided += uint64(len(got.Undecidable))
		}
	}
	if undecided != 0 {
		t.Errorf("%d causes, want none", undecided)
	}
}

// TestTryIsTheDifference: what a candidate changes is exactly what deciding
// each row by it one by one says.
func TestTryIsTheDifference(t *testing.T) {
	changed := 0
	for seed := range uint64(200) {
		g := ruletest.New(seed)
		before, after := g.Set(), g.Set()
		var rows record
		want := map[string]uint64{}
		for i := range 60 {
			row := decided(before, g.Facts(after), base.Add(time.Duration(i)*time.Hour))
			if i%3 == 0 {
				row = decided(before, g.Facts(before), row.at)
			}
			rows = append(rows, row)
			now := native{table.Compile(after)}.Decide(t.Context(), &row.facts, row.at)
			if now.Action != row.decision.Would {
				want[row.decision.Would.String()+" "+now.Action.String()]++
				changed++
			}
		}
		rules := history.Rules{Sets: map[string][]*history.Policy{"r": {policyOf(before)}}}
		tried, err := history.Try(t.Context(), rows, &rules, policyOf(after), nil)
		if err != nil {
			t.Fatal(err)
		}
		compared, err := history.Compare(t.Context(), rows, policyOf(before), policyOf(after), nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]*history.Report{"try": tried, "compare": compared} {
			have := map[string]uint64{}
			for _, g := range slices.Concat(got.Denied, got.Alerting, got.Allowed) {
				have[g.Before+" "+g.After] += g.Connections
			}
			if !maps.Equal(have, want) {
				t.Fatalf("seed %d: %s says %v, want %v", seed, name, have, want)
			}
		}
	}
	if changed < 500 {
		t.Errorf("only %d decisions changed: the sets are too alike to prove anything", changed)
	}
}

// TestCauses: what cannot be decided is told by cause.
func TestCauses(t *testing.T) {
	set := rule.NewSet([]rule.Rule{{ID: "a", Action: event.ActionDeny, Mode: event.ModeEnforce,
		Match: rule.Match{Process: &rule.ProcessMatch{Package: []rule.Pattern{{Text: "curl", Kind: rule.MarkedPattern}}}}}}, nil, nil, nil)
	curl := rule.Facts{Process: rule.Subject{Exe: "/usr/bin/curl", Kind: event.ExecutableFile, Package: "curl"}, Direction: event.Out, Proto: "tcp"}
	good := decided(set, curl, base)
	with := func(change func(*one)) one {
		o := good
		change(&o)
		return o
	}
	rows := record{
		good,
		with(func(o *one) { o.decision.Would = event.ActionNone }),
		with(func(o *one) { o.decision.Would = event.ActionUndecided }),
		with(func(o *one) { o.decision.Error = "evaluator_error" }),
		with(func(o *one) { o.input = 0 }),
		with(func(o *one) { o.decision.Revision = "gone" }),
		with(func(o *one) { o.decision.Revision = "broken" }),
		with(func(o *one) { o.facts.Process.Package = "none" }),
	}
	rules := history.Rules{Sets: map[string][]*history.Policy{"r": {policyOf(set)}}, Broken: map[string]error{"broken": context.Canceled}}
	got, err := history.Replay(t.Context(), rows, &rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cause := range []history.Cause{history.CauseNoPolicy, history.CauseUndecided, history.CauseEvaluator, history.CauseNoInput,
		history.CauseNoRules, history.CauseBadRules, history.CauseFacts} {
		if n := got.Of(cause).Connections; n != 1 {
			t.Errorf("%s: %d rows, want 1", cause, n)
		}
	}
	if got.Same.Connections != 1 || got.Differs() {
		t.Errorf("the rest: %+v", got)
	}
	old := record{with(func(o *one) { o.old, o.input, o.decision.Would = true, 0, event.ActionNone })}
	got, err = history.Try(t.Context(), old, &rules, policyOf(set), nil)
	if err != nil || got.Of(history.CauseIncomplete).Connections != 1 {
		t.Errorf("a row without the facts that the candidate reads: %+v (%v)", got, err)
	}
	plain := rule.NewSet([]rule.Rule{{ID: "b", Action: event.ActionDeny, Mode: event.ModeEnforce,
		Match: rule.Match{Process: &rule.ProcessMatch{Exe: []rule.Pattern{{Text: "/usr/bin/curl", Kind: rule.PathPattern}}}}}}, nil, nil, nil)
	got, err = history.Try(t.Context(), old, &rules, policyOf(plain), nil)
	if err != nil || len(got.Denied) != 1 || got.Denied[0].Before != "none" || got.Denied[0].Program != "/usr/bin/curl" {
		t.Errorf("a row with the facts that the candidate reads: %+v (%v)", got, err)
	}
}

// TestTwoSetsOfOneRevision: a row is judged by the one that decided it.
func TestTwoSetsOfOneRevision(t *testing.T) {
	deny := func(exe string) *rule.Set {
		return rule.NewSet([]rule.Rule{{ID: "a", Action: event.ActionDeny, Mode: event.ModeEnforce,
			Match: rule.Match{Process: &rule.ProcessMatch{Exe: []rule.Pattern{{Text: exe, Kind: rule.PathPattern}}}}}}, nil, nil, nil)
	}
	f := rule.Facts{Process: rule.Subject{Exe: "/a", Kind: event.ExecutableFile}, Direction: event.Out, Proto: "tcp"}
	rows := record{decided(deny("/a"), f, base), decided(deny("/b"), f, base)}
	rules := history.Rules{Sets: map[string][]*history.Policy{"r": {policyOf(deny("/b")), policyOf(deny("/a"))}}}
	got, err := history.Replay(t.Context(), rows, &rules, nil)
	if err != nil || got.Same.Connections != 2 {
		t.Errorf("%+v (%v)", got, err)
	}
}

// TestLearnAllowsItsWindow: a confined draft denies nothing of what it was made
// of, reads back as the same rules, and is the same each time.
func TestLearnAllowsItsWindow(t *testing.T) {
	confined, allowed := 0, uint64(0)
	for seed := range uint64(300) {
		g := ruletest.New(seed)
		set := g.Set()
		var rows record
		for i := range 80 {
			f := g.AnyFacts()
			if i%2 == 0 {
				f.Process.Kind = event.ExecutableFile // most programs are files
			}
			rows = append(rows, decided(set, f, base.Add(time.Duration(i)*time.Minute)))
		}
		opts := history.LearnOptions{Confine: true, Subdomains: 1 + int(seed%3), Addresses: 1 + int(seed%4), Ports: 1 + int(seed%5)}
		d, err := history.Learn(t.Context(), rows, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		src, err := d.Yaml()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		loaded, err := rule.Load(fstest.MapFS{"learned.yaml": {Data: src}}, rule.Options{})
		if err != nil {
			t.Fatalf("seed %d: the draft does not load: %v\n%s", seed, err, src)
		}
		got, err := history.Try(t.Context(), rows, &history.Rules{}, policyOf(loaded.Set), nil)
		if err != nil {
			t.Fatal(err)
		}
		var denied, allows uint64
		for _, x := range got.Denied {
			denied += x.Connections
		}
		inTable := table.Compile(loaded.Set)
		for i := range rows {
			d := inTable.Set().Combine(inTable.Votes(&rows[i].facts), base)
			switch d.Action {
			case event.ActionDeny:
				denied++
			case event.ActionAllow:
				allows++
			}
		}
		if denied > 0 || allows != d.Covered.Connections {
			t.Fatalf("seed %d: %d denied, %d allowed, the draft says %d:\n%s", seed, denied, allows, d.Covered.Connections, src)
		}
		slices.Reverse(rows)
		again, err := history.Learn(t.Context(), rows, opts, nil)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := again.Yaml(); err != nil || string(other) != string(src) {
			t.Fatalf("seed %d: another draft of the same rows (%v):\n%s", seed, err, cmp.Diff(string(src), string(other)))
		}
		confined += len(d.Set.Confine)
		allowed += allows
	}
	t.Logf("%d programs confined, %d rows allowed", confined, allowed)
	if confined < 100 || allowed < 5000 {
		t.Errorf("%d programs confined, %d rows allowed: too few to prove anything", confined, allowed)
	}
}
