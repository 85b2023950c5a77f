package table

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

// TestCellsAreTrue holds the address trie against asking every net and scope,
// at the edges of all prefixes.
func TestCellsAreTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var a addresses
		nets := map[int32]netip.Prefix{}
		scopes := map[int32]rule.Scope{}
		probes := []netip.Addr{netip.MustParseAddr("::"), netip.MustParseAddr("::ffff:ffff:ffff"), netip.MustParseAddr("::1:0:0:0")}
		for range r.IntN(12) {
			p := randomPrefix(r)
			nets[a.atom(atom{net: p})] = p
			probes = append(probes, edges(p)...)
		}
		for s := rule.ScopeLoopback; s <= rule.ScopeInternet; s++ {
			if r.IntN(2) == 0 {
				scopes[a.atom(atom{scope: s})] = s
			}
		}
		for _, texts := range scopeNets {
			for _, text := range texts {
				probes = append(probes, edges(netip.MustParsePrefix(text))...)
			}
		}
		a.build()
		for _, addr := range probes {
			addr = addr.Unmap()
			cell := a.of(addr)
			for id, p := range nets {
				if got, want := a.has(cell, []int32{id}), p.Contains(addr); got != want {
					t.Fatalf("%s in %s: %t, the trie says %t", addr, p, want, got)
				}
			}
			for id, s := range scopes {
				if got, want := a.has(cell, []int32{id}), rule.ScopeOf(addr) == s; got != want {
					t.Fatalf("%s is %s: %t, the trie says %t", addr, s, want, got)
				}
			}
		}
	}
}

func randomPrefix(r *rand.Rand) netip.Prefix {
	if r.IntN(2) == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(2)), byte(r.IntN(256))}), r.IntN(33)).Masked()
	}
	six := [16]byte{0x20, 1, 0xd, 0xb8, byte(r.IntN(2)), 15: byte(r.IntN(4))}
	if r.IntN(4) == 0 {
		six = [16]byte{15: byte(r.IntN(4))} // near where mapped IPv4 lies
	}
	return netip.PrefixFrom(netip.AddrFrom16(six), r.IntN(129)).Masked()
}

// edges are the first and the last address of a prefix and those beside them.
func edges(p netip.Prefix) []netip.Addr {
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	out := []netip.Addr{p.Addr(), end}
	for _, a := range []netip.Addr{p.Addr().Prev(), end.Next()} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// TestPortPrefixes cuts ranges into prefixes that hold just their ports.
func TestPortPrefixes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		a, b := uint16(r.IntN(1<<16)), uint16(r.IntN(1<<16))
		want := rule.PortRange{First: min(a, b), Last: max(a, b)}
		next, n := int(want.First), 0
		for first, length := range portPrefixes(want) {
			if int(first) != next || int(first)%(1<<(16-length)) != 0 {
				t.Fatalf("%v: prefix %d/%d does not follow %d", want, first, length, next)
			}
			next += 1 << (16 - length)
			n++
		}
		if next != int(want.Last)+1 || n > 30 {
			t.Fatalf("%v: %d prefixes end at %d", want, n, next)
		}
	}
}

func portRule(id string, a event.Action, exe string, first, last uint16) rule.Rule {
	r := rule.Rule{ID: id, Action: a, Mode: event.ModeEnforce, Match: rule.Match{Direction: []event.Direction{event.Out},
		To: &rule.EndpointMatch{Port: []rule.PortRange{{First: first, Last: last}}, Proto: []string{"tcp"}}}}
	if exe != "" {
		r.Match.Process = &rule.ProcessMatch{Exe: []rule.Pattern{{Text: exe, Kind: rule.PathPattern}}}
	}
	return r
}

func subjectFacts(exe string) *rule.Facts {
	return &rule.Facts{Process: rule.Subject{Exe: exe, Kind: event.ExecutableFile}}
}

// TestClassesAreShared holds that subjects of the same rules share a class, and
// classes what they have in common.
func TestClassesAreShared(t *testing.T) {
	set := rule.NewSet([]rule.Rule{portRule("web", event.ActionAllow, "/usr/bin/**", 443, 443), portRule("high", event.ActionDeny, "/usr/bin/git", 8000, 8099)}, nil, nil, nil)
	classes := NewKernel(set, time.Time{}).Classes()
	of := func(exe string) ClassID {
		id, err := classes.Of(subjectFacts(exe))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if a, b := of("/usr/bin/curl"), of("/usr/bin/wget"); a != b {
		t.Errorf("curl is of class %d, wget of %d", a, b)
	}
	if a, b := of("/usr/bin/git"), of("/usr/bin/curl"); a == b {
		t.Errorf("git and curl are both of class %d", a)
	}
	// Only for out and tcp there are rules; the rest of all classes is one group.
	of("/opt/x")
	if c, g := classes.Len(); c != 3 || g != 3 {
		t.Errorf("%d classes of %d groups, want 3 of 3", c, g)
	}
	in := Tuple{Direction: event.Out, Proto: "tcp", To: Peer{Port: 8050, HasPort: true}}
	want := Entry{Verdict: Deny, Rule: "high", Exact: true, Cacheable: true}
	if got := classes.Lookup(of("/usr/bin/git"), in, time.Time{}); got != want {
		t.Errorf("git to port 8050: %+v, want %+v", got, want)
	}
	if got := classes.Lookup(0, in, time.Time{}); got.Verdict != Ask {
		t.Errorf("no class: %+v, want ask", got)
	}
}

// TestClassesConcurrently classifies and looks up from several goroutines.
func TestClassesConcurrently(t *testing.T) {
	g := ruletest.New(9)
	set := g.SetOf(12, 2)
	classes := NewKernel(set, ruletest.Epoch).Classes()
	var all [64]rule.Facts
	for i := range all {
		all[i] = g.Facts(set)
	}
	var ids [4][len(all)]ClassID
	var wg sync.WaitGroup
	for n := range ids {
		wg.Go(func() {
			for i := range all {
				ids[n][i], _ = classes.Of(&all[i])
				classes.Lookup(ids[n][i], TupleOf(&all[i]), ruletest.Epoch)
				classes.Groups(ids[n][i])
			}
		})
	}
	wg.Wait()
	if ids[0] != ids[1] || ids[0] != ids[2] || ids[0] != ids[3] || slices.Contains(ids[0][:], 0) {
		t.Error("goroutines see different classes, or none")
	}
}

// TestEntriesExpire holds that an entry is Ask from the moment when a rule that
// counts in it expires.
func TestEntriesExpire(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r := portRule("web", event.ActionAllow, "", 443, 443)
	r.Expires = at.Add(time.Minute)
	classes := NewKernel(rule.NewSet([]rule.Rule{r}, nil, nil, nil), at).Classes()
	id, err := classes.Of(subjectFacts("/x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		port  uint16
		after time.Duration
		want  Verdict
	}{{443, 0, Allow}, {443, time.Minute - 1, Allow}, {443, time.Minute, Ask}, {80, time.Minute, Alert}} {
		tuple := Tuple{Direction: event.Out, Proto: "tcp", To: Peer{Port: c.port, HasPort: true}}
		if got := classes.Lookup(id, tuple, at.Add(c.after)); got.Verdict != c.want {
			t.Errorf("port %d after %s: %s, want %s", c.port, c.after, got.Verdict, c.want)
		}
	}
}

// TestLoadedEntriesAreAll holds that what a loader is given is all that a
// look-up reads: a second look-up over these entries alone agrees.
func TestLoadedEntriesAreAll(t *testing.T) {
	decided := 0
	for seed := range uint64(200) {
		g := ruletest.New(seed)
		set := g.Set()
		k := NewKernel(set, ruletest.Epoch)
		classes := k.Classes()
		for range 20 {
			f := g.Facts(set)
			id, err := classes.Of(&f)
			if err != nil {
				t.Fatal(err)
			}
			got, want := loadedLookup(k, classes, id, TupleOf(&f)), classes.Lookup(id, TupleOf(&f), time.Time{})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d (-Lookup +entries):\n%s", seed, diff)
			}
			if want.Verdict != Ask {
				decided++
			}
		}
	}
	if decided < 1000 {
		t.Errorf("only %d were decided: the test says little", decided)
	}
}

// loadedLookup is docs/tables.md, in the order in which BPF does it.
func loadedLookup(k *Kernel, classes *Classes, id ClassID, t Tuple) Entry {
	group, ok := classes.Groups(id)[GroupKey{id, t.Direction, k.Protos()[t.Proto]}]
	if !ok {
		return Entry{Verdict: Ask}
	}
	cells := [...]uint32{cellOf(k, t.To.Addr), cellOf(k, t.From.Addr), 0}
	if t.From.HasPort {
		for port, cell := range k.SourcePorts() {
			if port == t.From.Port {
				cells[FromPort] = cell
			}
		}
	}
	var at place
	for d, cell := range cells {
		if group.Uses>>d&1 == 1 {
			at[d] = classes.Places(group.ID)[PlaceKey{group.ID, Dimension(d), cell}]
		}
	}
	key := verdictKey(group.ID, at, t.To.Port, t.To.HasPort)
	best, found := -1, Entry{Verdict: Ask}
	for p, e := range classes.Verdicts(group.ID) {
		if p.Bits > best && hasPrefix(key[:], p) {
			best, found = p.Bits, e
		}
	}
	return found
}

func cellOf(k *Kernel, a netip.Addr) (cell uint32) {
	if a = plain(a); !a.IsValid() {
		return 0
	}
	data, best := a.As16(), -1
	for p, c := range k.Addresses() {
		if p.Bits > best && hasPrefix(data[:], p) {
			best, cell = p.Bits, c
		}
	}
	return cell
}

func hasPrefix(data []byte, p Prefix) bool {
	for i := range p.Bits {
		if (data[i/8]^p.Data[i/8])>>(7-i%8)&1 == 1 {
			return false
		}
	}
	return true
}

// TestTooLarge holds that what does not fit is an error, and then Ask.
func TestTooLarge(t *testing.T) {
	var rules []rule.Rule
	for i := range 300 {
		r := portRule("r"+string(rune('a'+i/26))+string(rune('a'+i%26)), event.ActionDeny, "", 1, 65535)
		net := rule.Host{Kind: rule.HostNet, Net: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)}
		r.Match.To.Host, r.Match.From = []rule.Host{net}, &rule.EndpointMatch{Host: []rule.Host{net}}
		rules = append(rules, r)
	}
	classes := NewKernel(rule.NewSet(rules, nil, nil, nil), time.Time{}).Classes()
	id, err := classes.Of(subjectFacts("/x"))
	if id != 0 || !errors.Is(err, ErrFull) {
		t.Errorf("class %d, error %v; want class 0 and ErrFull", id, err)
	}
}

// TestResiduals prints what needs user space, and why.
func TestResiduals(t *testing.T) {
	at := func(line int) rule.Position { return rule.Position{File: "a.yaml", Line: line, Col: 5} }
	word := func(text string) []rule.Pattern { return []rule.Pattern{{Text: text, Kind: rule.WordPattern}} }
	name := []rule.Host{{Kind: rule.HostSuffix, Name: "example.org"}}
	lists := []*rule.List{rule.NewList("names", name), rule.NewList("nets", []rule.Host{{Kind: rule.HostNet, Net: netip.MustParsePrefix("10.0.0.0/8")}})}
	list := func(name string) *rule.EndpointMatch {
		return &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostList, Name: name}}}
	}
	set := rule.NewSet([]rule.Rule{
		{ID: "name", Pos: at(2), Match: rule.Match{To: &rule.EndpointMatch{Host: name, Country: []string{"DE"}}}},
		{ID: "names-list", Pos: at(4), Match: rule.Match{To: list("names")}},
		{ID: "nets-list", Pos: at(6), Match: rule.Match{To: list("nets")}},
		{ID: "news", Pos: at(8), Match: rule.Match{Novelty: []rule.Novelty{rule.NoveltyHash}}},
		{ID: "args", Pos: at(10), Match: rule.Match{Process: &rule.ProcessMatch{User: []string{"ci"}}},
			Except: []rule.Match{{Process: &rule.ProcessMatch{Parent: &rule.ProcessMatch{Cmdline: word("* -c *")}}},
				{Process: &rule.ProcessMatch{Ancestor: &rule.ProcessMatch{Cmdline: word("* -c *")}}}}},
		portRule("plain", event.ActionDeny, "/x", 1, 2),
	}, []rule.Confine{{ID: "locked", Pos: at(14), Process: &rule.ProcessMatch{Cmdline: word("x")}}},
		lists, []rule.Module{{File: "b.rego"}, {File: "b_test.rego", Test: true}})
	var b strings.Builder
	for _, r := range Residuals(set) {
		b.WriteString(r.String() + "\n")
	}
	want, err := os.ReadFile(filepath.Join("testdata", "residuals.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("residuals (-want +got):\n%s", diff)
	}
}

// TestResidualsAreWhy holds that a rule of which nothing is residual is never
// the reason to ask.
func TestResidualsAreWhy(t *testing.T) {
	asked := 0
	for seed := range uint64(500) {
		g := ruletest.New(seed)
		set := g.Set()
		residual := map[string]bool{}
		for _, r := range Residuals(set) {
			residual[r.ID] = true
		}
		confines := map[string]bool{}
		for _, c := range set.Confine {
			confines[c.ID] = true
		}
		classes := NewKernel(set, ruletest.Epoch).Classes()
		for range 30 {
			f := g.Facts(set)
			id, err := classes.Of(&f)
			if err != nil {
				t.Fatal(err)
			}
			e := classes.Lookup(id, TupleOf(&f), ruletest.Epoch)
			if e.Verdict != Ask {
				continue
			}
			asked++
			// A confinement asks for the allow rules that may lift it.
			if !residual[e.Rule] && !(confines[e.Rule] && len(residual) > 0) {
				t.Fatalf("seed %d: asks for %q, of which nothing is residual", seed, e.Rule)
			}
		}
	}
	if asked < 500 {
		t.Errorf("asked only %d times: the test says little", asked)
	}
}

// BenchmarkLookup is one look-up in the emulation, for its order of growth.
func BenchmarkLookup(b *testing.B) {
	set, facts := realistic(1000)
	classes := NewKernel(set, time.Time{}).Classes()
	id, err := classes.Of(&facts[0])
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		classes.Lookup(id, TupleOf(&facts[i%len(facts)]), time.Time{})
	}
}

// BenchmarkClassOf is the first sight of a subject: its class is compiled.
func BenchmarkClassOf(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		set, facts := realistic(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k := NewKernel(set, time.Time{})
			for i := 0; b.Loop(); i++ {
				if _, err := k.Classes().Of(&facts[i%len(facts)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
