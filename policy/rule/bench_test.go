package rule_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

// BenchmarkLoad reads sets of rules as the daemon does on a reload.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		src, err := rule.Marshal(ruletest.New(1).SetOf(n, 2), rule.Comments{})
		if err != nil {
			b.Fatal(err)
		}
		fsys := fstest.MapFS{"a.yaml": {Data: src}}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rule.Load(fsys, rule.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
