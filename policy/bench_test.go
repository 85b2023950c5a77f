package policy

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

var benchSizes = []int{10, 100, 1000, 10000}

// times are how long single decisions took.
type times []time.Duration

func (t times) report(b *testing.B) {
	slices.Sort(t)
	for _, q := range []struct {
		at   int
		name string
	}{{len(t) / 2, "p50-µs"}, {len(t) * 99 / 100, "p99-µs"}} {
		b.ReportMetric(float64(t[q.at].Nanoseconds())/1e3, q.name)
	}
}

// connection is one that Facts makes f of.
func connection(f *rule.Facts) event.Connection {
	var p *event.Process
	for _, s := range slices.Backward(f.Ancestors) {
		p = &event.Process{UID: s.UID, User: s.User, Executable: event.Executable{Path: s.Exe, Kind: s.Kind}, Parent: p}
	}
	s := &f.Process
	p = &event.Process{Name: s.Name, Args: []string{s.Cmdline}, UID: s.UID, User: s.User, Parent: p,
		Executable: event.Executable{Path: s.Exe, Kind: s.Kind, SHA256: s.SHA256, Package: s.Package}}
	c := event.Connection{Process: p, Direction: f.Direction, Family: event.AFInet, Proto: event.ProtoTCP, UID: s.UID, User: s.User,
		Local: netip.AddrPortFrom(f.From.Addr, f.From.Port), Remote: netip.AddrPortFrom(f.To.Addr, f.To.Port), Country: f.To.Country,
		Cgroup: event.Cgroup{ID: 1, Path: s.Cgroup, Unit: s.Unit}}
	for _, n := range f.To.Names {
		c.Names = append(c.Names, event.Name{Domain: n.Domain, Source: n.Source, Trusted: n.Trusted})
	}
	return c
}

func connections(n int) (list []event.Connection) {
	for _, f := range ruletest.MixedFacts(n, 5000) {
		list = append(list, connection(&f))
	}
	return list
}

// BenchmarkDecide is one decision of the engine, by what makes it: OPA, of
// connections of which no two are alike; the cache, of one that was decided.
// The tables decide the same facts for comparison.
func BenchmarkDecide(b *testing.B) {
	for _, n := range benchSizes {
		set := ruletest.Mixed(n)
		e := New(Config{Mode: event.ModeAudit}, Deps{})
		p := prepared(b, set)
		e.Use(p)
		conns := connections(n)
		b.Run(fmt.Sprintf("opa/rules=%d", n), func(b *testing.B) {
			var took times
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(conns) == 0 {
					p.cache = newCache()
				}
				began := time.Now()
				d, _ := e.Decide(b.Context(), &conns[i%len(conns)])
				took = append(took, time.Since(began))
				if d.Error != "" {
					b.Fatal(d.Error)
				}
			}
			took.report(b)
		})
		b.Run(fmt.Sprintf("cached/rules=%d", n), func(b *testing.B) {
			const few = 64 // a clock is slower than one
			for i := range few {
				e.Decide(b.Context(), &conns[i])
			}
			evaluated := e.Stats().Evaluated
			var took times
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				for i := range few {
					e.Decide(b.Context(), &conns[i])
				}
				took = append(took, time.Since(began)/few)
			}
			took.report(b)
			if e.Stats().Evaluated != evaluated {
				b.Error("OPA was asked")
			}
		})
		b.Run(fmt.Sprintf("table/rules=%d", n), func(b *testing.B) { benchTable(b, set, n) })
		b.Run(fmt.Sprintf("kernel/rules=%d", n), func(b *testing.B) { benchKernel(b, set, n) })
	}
}

func benchTable(b *testing.B, set *rule.Set, n int) {
	t, facts := table.Compile(set), ruletest.MixedFacts(n, 5000)
	var took times
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		set.Combine(t.Votes(&facts[i%len(facts)]), began)
		took = append(took, time.Since(began))
	}
	took.report(b)
}

// benchKernel looks connections of a few programs up in the emulation of the
// kernel's maps.
func benchKernel(b *testing.B, set *rule.Set, n int) {
	facts := ruletest.MixedFacts(n, 64)
	classes := table.NewKernel(set, time.Time{}).Classes()
	ids, tuples := make([]table.ClassID, len(facts)), make([]table.Tuple, len(facts))
	for i := range facts {
		id, err := classes.Of(&facts[i])
		if err != nil {
			b.Fatal(err)
		}
		ids[i], tuples[i] = id, table.TupleOf(&facts[i])
	}
	var took times
	for b.Loop() {
		began := time.Now()
		for i := range ids {
			classes.Lookup(ids[i], tuples[i], time.Time{})
		}
		took = append(took, time.Since(began)/time.Duration(len(ids)))
	}
	took.report(b)
}

// BenchmarkSwap loads rules from their YAML and brings them into use, as a
// reload does. The memory is what stays: rules, and what OPA made of them.
func BenchmarkSwap(b *testing.B) {
	for _, n := range benchSizes {
		src, err := rule.Marshal(ruletest.Mixed(n), rule.Comments{})
		if err != nil {
			b.Fatal(err)
		}
		files := fstest.MapFS{"rules.yaml": {Data: src}}
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			e := New(Config{Mode: event.ModeAudit}, Deps{})
			before := heap()
			var read, compile, swap times
			for b.Loop() {
				began := time.Now()
				loaded, err := rule.Load(files, rule.Options{})
				if err != nil {
					b.Fatal(err)
				}
				compiled := time.Now()
				p := prepared(b, loaded.Set)
				swapped := time.Now()
				e.Use(p)
				read, compile, swap = append(read, compiled.Sub(began)), append(compile, swapped.Sub(compiled)), append(swap, time.Since(swapped))
			}
			b.ReportMetric(float64(heap()-before)/1e6, "MB")
			b.ReportMetric(read.median()/1e6, "read-ms")
			b.ReportMetric(compile.median()/1e6, "compile-ms")
			b.ReportMetric(swap.median()/1e3, "swap-µs")
			runtime.KeepAlive(e)
		})
	}
}

// median is in nanoseconds.
func (t times) median() float64 {
	slices.Sort(t)
	return float64(t[len(t)/2])
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkList is a list of a million names: loading it, asking it, and what it
// adds to OPA's decisions by a thousand rules, measured in turn with and without.
func BenchmarkList(b *testing.B) {
	const names, rules = 1_000_000, 1000
	var text bytes.Buffer
	for i := range names {
		fmt.Fprintf(&text, "0.0.0.0 ad%07d.tracker%d.example\n", i*7919%names, i%1000)
	}
	files := fstest.MapFS{"list.txt": {Data: text.Bytes()}, "rules.yaml": {Data: []byte("version: 1\nlists: {big: {file: list.txt}}\n")}}
	for b.Loop() {
		before, began := heap(), time.Now()
		loaded, err := rule.Load(files, rule.Options{})
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		list := loaded.Set.Lists["big"]
		loaded = nil
		b.ReportMetric(float64(heap()-before)/1e6, "MB")
		b.ReportMetric(float64(took.Milliseconds()), "load-ms")
		if n, _ := list.Len(); n != names {
			b.Fatalf("%d names", n)
		}
		benchLookups(b, list)
		benchWithList(b, list, rules)
	}
}

func benchLookups(b *testing.B, list *rule.List) {
	const count = 1_000_000
	asked := make([]string, 4096) // each second one is listed
	for i := range asked {
		asked[i] = fmt.Sprintf("ad%07d.tracker%d.example", i/2*7919%1_000_000, i/2%1000+i%2*1000)
	}
	hits, began := 0, time.Now()
	for i := range count {
		if list.MatchName(asked[i%len(asked)]) {
			hits++
		}
	}
	b.ReportMetric(float64(time.Since(began).Nanoseconds())/count, "look-up-ns")
	if hits < count*4/10 || hits > count*6/10 {
		b.Fatalf("%d of %d names are listed", hits, count)
	}
}

func benchWithList(b *testing.B, list *rule.List, rules int) {
	without := ruletest.Mixed(rules)
	last := rule.Rule{ID: "listed", Action: event.ActionDeny, Mode: event.ModeEnforce, Match: rule.Match{Direction: []event.Direction{event.Out},
		To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostList, Name: "big"}}}}}
	lists := []*rule.List{list}
	for _, l := range without.Lists {
		lists = append(lists, l)
	}
	policies := [2]*Policy{prepared(b, without), prepared(b, rule.NewSet(append(slices.Clone(without.Rules), last), without.Confine, lists, nil))}
	var took [2]times
	for _, f := range ruletest.MixedFacts(rules, 5000) {
		for i, p := range policies {
			began := time.Now()
			p.Decide(b.Context(), &f, began)
			took[i] = append(took[i], time.Since(began))
		}
	}
	b.ReportMetric(took[0].median()/1e3, "without-p50-µs")
	b.ReportMetric(took[1].median()/1e3, "with-p50-µs")
}

// BenchmarkBatch is one row that was decided before, through the ledger.
func BenchmarkBatch(b *testing.B) {
	e := New(Config{Mode: event.ModeAudit}, Deps{})
	e.Use(prepared(b, set(rule.Rule{ID: "a", Action: event.ActionAllow, Match: rule.Match{Process: exe("/usr/bin/p"), To: port(443)}})))
	conns := make([]event.Connection, 4096)
	for i := range conns {
		conns[i] = outbound(uint64(i), program("/usr/bin/p"), "192.0.2.1:443")
	}
	e.Batch(b.Context(), conns)
	for b.Loop() {
		e.Batch(b.Context(), conns)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/row")
}
