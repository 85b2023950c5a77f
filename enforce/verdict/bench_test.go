package verdict

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// nets is a rule with a list of n networks.
func nets(n int) *rule.Set {
	hosts := make([]rule.Host, n)
	for i := range hosts {
		hosts[i] = rule.Host{Kind: rule.HostNet, Net: netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(11 + i>>16), byte(i >> 8), byte(i), 0}), 24)}
	}
	list := rule.NewList("nets", hosts)
	return rule.NewSet([]rule.Rule{{ID: "listed", Action: event.ActionDeny, Mode: event.ModeEnforce,
		Match: rule.Match{To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostList, Name: "nets"}}}}}}, nil, []*rule.List{list}, nil)
}

// BenchmarkKernelLookUp is one look-up in the kernel, by how many networks the
// rules name: the quickest of many thousands, which no other program disturbed.
func BenchmarkKernelLookUp(b *testing.B) {
	for _, n := range []int{1, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := loaded(b)
			g := inKernel(b, v, nets(n), time.Now())
			defer g.tables.Close()
			class, err := g.class(&rule.Facts{})
			if err != nil {
				b.Fatal(err)
			}
			q := query(g, class, 6, table.Tuple{Direction: event.Out, Proto: "tcp",
				To: table.Peer{Addr: netip.AddrFrom4([4]byte{11, byte(n / 2 >> 8), byte(n / 2), 7}), Port: 443, HasPort: true}})
			var runs []time.Duration
			for b.Loop() {
				answer := q
				took, err := v.Probe(&answer, 1000)
				if err != nil {
					b.Fatal(err)
				}
				runs = append(runs, took)
			}
			b.ReportMetric(float64(slices.Min(runs).Nanoseconds()), "ns/look-up")
		})
	}
}

// BenchmarkSet is how long it takes to bring 10,000 rules into the kernel and
// flip to them, with the classes of a hundred processes.
func BenchmarkSet(b *testing.B) {
	l := newLab(b)
	rules := make([]rule.Rule, 10_000)
	for i := range rules {
		rules[i] = out(fmt.Sprintf("r%05d", i), event.ActionDeny, fmt.Sprintf("/opt/p%d", i%100), uint16(1000+i))
	}
	for i := range 100 {
		l.Process(&event.Process{ID: event.ProcessID{PID: 1 << 22, Start: uint64(i + 1)},
			Executable: event.Executable{Path: fmt.Sprintf("/opt/p%d", i), Kind: event.ExecutableFile}})
	}
	l.set(nil, rules...)
	d := l.desired
	for b.Loop() {
		if err := l.Set(context.Background(), d); err != nil {
			b.Fatal(err)
		}
	}
}
