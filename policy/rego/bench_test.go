package rego

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"snitch/policy/rule/ruletest"
)

var benchSizes = []int{10, 100, 1000, 10000}

// BenchmarkVotes decides connections of which no two are alike.
func BenchmarkVotes(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			set := ruletest.Mixed(n)
			e, err := New(b.Context(), set)
			if err != nil {
				b.Fatal(err)
			}
			facts := ruletest.MixedFacts(n, 5000)
			took := make([]time.Duration, 0, b.N)
			matched := 0
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				v, err := e.Votes(b.Context(), &facts[i%len(facts)])
				took = append(took, time.Since(began))
				if err != nil {
					b.Fatal(err)
				}
				matched += len(v.Rules)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
			b.ReportMetric(float64(matched)/float64(len(took)), "matches/op")
		})
	}
}

// BenchmarkLoad compiles a set; the memory is what stays.
func BenchmarkLoad(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			set := ruletest.Mixed(n)
			var keep *Evaluator
			before := heap()
			for b.Loop() {
				var err error
				if keep, err = New(b.Context(), set); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(int64(heap())-int64(before))/1e6, "MB")
			runtime.KeepAlive(keep)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
