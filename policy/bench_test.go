package policy

import (
	"fmt"
	"testing"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// BenchmarkDecideCached is a decision that the cache knows, by the number of
// rules: the usual case of every row.
func BenchmarkDecideCached(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var rules []rule.Rule
			for i := range n {
				rules = append(rules, rule.Rule{ID: fmt.Sprintf("r%05d", i), Action: event.ActionAllow,
					Match: rule.Match{Process: exe(fmt.Sprintf("/usr/bin/p%d", i)), To: port(443)}})
			}
			e := New(Config{Mode: event.ModeAudit}, Deps{})
			e.Use(prepared(b, set(rules...)))
			c := outbound(1, program("/usr/bin/p7"), "192.0.2.1:443")
			b.ReportAllocs()
			for b.Loop() {
				if d, _ := e.Decide(b.Context(), &c); d.Rule != "r00007" {
					b.Fatal(d)
				}
			}
		})
	}
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
