package table_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/policy/rego"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

var tuples = flag.Int("tuples", 1_000_000, "how many tuples the differential test draws")

// factsPerSet is how many tuples are tried on each random set: compiling one
// costs as much as evaluating some hundreds.
const factsPerSet = 400

// voter answers which rules match.
type voter interface {
	Votes(f *rule.Facts) (rule.Votes, error)
}

type opa struct{ *rego.Evaluator }

func (o opa) Votes(f *rule.Facts) (rule.Votes, error) {
	return o.Evaluator.Votes(context.Background(), f)
}

type native struct{ *table.Table }

func (n native) Votes(f *rule.Facts) (rule.Votes, error) { return n.Table.Votes(f), nil }

// TestDifferential holds OPA, the native table and the kernel's entries against
// each other on random sets and facts.
func TestDifferential(t *testing.T) {
	n := *tuples
	if testing.Short() {
		n = min(n, 50_000)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // little lives, much is made
	var next atomic.Uint64
	var total counts
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var c counts
			for {
				seed := next.Add(1)
				if int(seed-1)*factsPerSet >= n || t.Failed() {
					break
				}
				differ(t, seed, &c)
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(c)
		})
	}
	wg.Wait()
	t.Logf("%d tuples, %d votes; the kernel decides %d, asks for %d; without facts of user space %d, asks for %d",
		total.tuples, total.votes, total.decided, total.asked, total.plain, total.plainAsked)
	if total.votes < total.tuples/4 || total.decided < total.tuples/20 {
		t.Error("too few rules matched or were decided: the test says little")
	}
	if total.plainAsked > 0 {
		t.Errorf("the kernel asks for %d tuples that its tables can decide", total.plainAsked)
	}
}

type counts struct{ tuples, votes, decided, asked, plain, plainAsked int }

func (c *counts) add(o counts) {
	c.tuples += o.tuples
	c.votes += o.votes
	c.decided += o.decided
	c.asked += o.asked
	c.plain += o.plain
	c.plainAsked += o.plainAsked
}

// differ tries one random set.
func differ(t *testing.T, seed uint64, c *counts) {
	g := ruletest.New(seed)
	set, plain := randomSet(g, seed)
	p, err := newParties(set)
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
		return
	}
	var ends []rule.Facts // whose ends and novelty other subjects meet as well
	for i := 0; i < factsPerSet; i++ {
		f := g.Facts(set)
		if i%4 == 0 {
			ends = append(ends, f)
		}
		for again := range 4 {
			if again > 0 {
				other := ends[(i*7+again)%len(ends)]
				other.Process, other.Ancestors = f.Process, f.Ancestors
				f = other
				i++
			}
			if !p.try(t, seed, &f, plain, c) {
				return
			}
		}
	}
}

// try compares the parties on one tuple and counts; false ends it.
func (p *parties) try(t *testing.T, seed uint64, f *rule.Facts, plain bool, c *counts) bool {
	v, err := p.compare(f)
	if err != nil {
		t.Errorf("seed %d: %v", seed, shrink(p.set, *f))
		return false
	}
	c.tuples++
	c.votes += len(v.votes.Rules) + len(v.votes.Confine)
	asked := v.entry.Verdict == table.Ask
	switch {
	case !asked:
		c.decided++
	case plain:
		c.plainAsked++
	default:
		c.asked++
	}
	if plain {
		c.plain++
	}
	return true
}

// randomSet makes a set, now and then a large one. Every third speaks only of
// what the kernel knows, which it then must decide.
func randomSet(g *ruletest.Gen, seed uint64) (set *rule.Set, plain bool) {
	switch {
	case seed%40 == 0:
		set = g.SetOf(100, 4)
	case seed%10 == 0:
		set = g.SetOf(25, 3)
	default:
		set = g.Set()
	}
	if seed%3 == 0 {
		return plainSet(set), true
	}
	return set, false
}

// parties are those that must agree.
type parties struct {
	set     *rule.Set
	voters  []voter // the first one is right
	now     time.Time
	classes *table.Classes
}

func newParties(set *rule.Set) (*parties, error) {
	e, err := rego.New(context.Background(), set)
	if err != nil {
		return nil, err
	}
	return &parties{set: set, voters: []voter{opa{e}, native{table.Compile(set)}}, now: ruletest.Epoch,
		classes: table.NewKernel(set, ruletest.Epoch).Classes()}, nil
}

// withoutCmdlines is f as the kernel sees subjects: those of a class differ in
// their command lines.
func withoutCmdlines(f *rule.Facts) *rule.Facts {
	g := *f
	g.Process.Cmdline = ""
	g.Ancestors = slices.Clone(f.Ancestors)
	for i := range g.Ancestors {
		g.Ancestors[i].Cmdline = ""
	}
	return &g
}

// agreed is what the parties say.
type agreed struct {
	votes rule.Votes
	entry table.Entry
}

// compare asks all parties.
func (p *parties) compare(f *rule.Facts) (agreed, error) {
	want, err := p.voters[0].Votes(f)
	if err != nil {
		return agreed{}, err
	}
	for _, v := range p.voters[1:] {
		got, err := v.Votes(f)
		if err != nil {
			return agreed{}, err
		}
		if !slices.Equal(want.Rules, got.Rules) || !slices.Equal(want.Confine, got.Confine) {
			return agreed{}, fmt.Errorf("votes of %T (-) and %T (+):\n%s", p.voters[0], v, cmp.Diff(want, got))
		}
	}
	class, err := p.classes.Of(withoutCmdlines(f))
	if err != nil {
		return agreed{}, err
	}
	tuple := table.TupleOf(f)
	for _, after := range []time.Duration{0, 45 * time.Minute} {
		at := p.now.Add(after)
		if err := agrees(p.classes.Lookup(class, tuple, at), p.set.Combine(want, at)); err != nil {
			return agreed{}, fmt.Errorf("%w (%s after the tables were made)", err, after)
		}
	}
	return agreed{want, p.classes.Lookup(class, tuple, p.now)}, nil
}

// agrees holds an entry against the decision.
func agrees(e table.Entry, d rule.Decision) error {
	sameRule := e.Rule == d.Rule
	if !e.Exact {
		sameRule = e.Rule == "" || slices.ContainsFunc(d.Matches, func(m rule.Matched) bool { return m.ID == e.Rule && m.Action == d.Action })
	}
	if e.Verdict == table.Ask || e.Verdict.Action() == d.Action && sameRule {
		return nil
	}
	return fmt.Errorf("the kernel's entry is %s by %q (exact: %t), the decision %s by %q", e.Verdict, e.Rule, e.Exact, d.Action, d.Rule)
}

// shrink makes set and facts as small as they still disagree, to paste into a
// test.
func shrink(set *rule.Set, f rule.Facts) error {
	failure := func(s *rule.Set) error {
		p, err := newParties(s)
		if err == nil {
			_, err = p.compare(&f)
		}
		return err
	}
	for again := true; again; {
		again = false
		for i := range set.Rules {
			s := rule.NewSet(slices.Delete(slices.Clone(set.Rules), i, i+1), set.Confine, lists(set), nil)
			if failure(s) != nil {
				set, again = s, true
				break
			}
		}
		for i := range set.Confine {
			s := rule.NewSet(set.Rules, slices.Delete(slices.Clone(set.Confine), i, i+1), lists(set), nil)
			if failure(s) != nil {
				set, again = s, true
				break
			}
		}
	}
	err := failure(set)
	if err == nil {
		err = errors.New("gone with a second look: the parties have a state")
	}
	dump, _ := json.MarshalIndent(map[string]any{"rules": set.Rules, "confine": set.Confine, "lists": listItems(set), "facts": f}, "", " ")
	return fmt.Errorf("%w\n%s", err, dump)
}

func lists(set *rule.Set) []*rule.List {
	var out []*rule.List
	for _, l := range set.Lists {
		out = append(out, l)
	}
	return out
}

func listItems(set *rule.Set) map[string][]rule.Host {
	out := map[string][]rule.Host{}
	for name, l := range set.Lists {
		out[name] = slices.Collect(l.Names())
		for net := range l.Nets() {
			out[name] = append(out[name], rule.Host{Kind: rule.HostNet, Net: net})
		}
	}
	return out
}

// plainSet takes out of a set what the kernel cannot know.
func plainSet(set *rule.Set) *rule.Set {
	all := []*rule.List{}
	for name, l := range set.Lists {
		var nets []rule.Host
		for net := range l.Nets() {
			nets = append(nets, rule.Host{Kind: rule.HostNet, Net: net})
		}
		all = append(all, rule.NewList(name, nets))
	}
	rules, confine := slices.Clone(set.Rules), slices.Clone(set.Confine)
	for i := range rules {
		rules[i].Match = plainMatch(rules[i].Match)
		rules[i].Except = nil
		for _, e := range set.Rules[i].Except {
			if e = plainMatch(e); !e.IsZero() {
				rules[i].Except = append(rules[i].Except, e)
			}
		}
		rules[i].Expires = time.Time{}
	}
	for i := range confine {
		confine[i].Process = plainProcess(confine[i].Process)
		confine[i].Except = nil
		for _, e := range set.Confine[i].Except {
			if plain := plainProcess(&e); plain != nil {
				confine[i].Except = append(confine[i].Except, *plain)
			}
		}
		confine[i].Expires = time.Time{}
	}
	return rule.NewSet(rules, confine, all, nil)
}

func plainMatch(m rule.Match) rule.Match {
	m.Process, m.To, m.From, m.Novelty = plainProcess(m.Process), plainEnd(m.To), plainEnd(m.From), nil
	return m
}

func plainProcess(m *rule.ProcessMatch) *rule.ProcessMatch {
	if m == nil {
		return nil
	}
	out := *m
	out.Cmdline, out.Parent, out.Ancestor = nil, plainProcess(m.Parent), plainProcess(m.Ancestor)
	if out.IsZero() {
		return nil
	}
	return &out
}

func plainEnd(m *rule.EndpointMatch) *rule.EndpointMatch {
	if m == nil {
		return nil
	}
	out := *m
	out.Country = nil
	out.Host = slices.DeleteFunc(slices.Clone(m.Host), func(h rule.Host) bool { return h.Kind != rule.HostNet && h.Kind != rule.HostList })
	if out.IsZero() {
		return nil
	}
	return &out
}
