package verdict

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/bpf/bpftest"
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
// rules name: in the tables, and remembered by the processor, which it is unless
// the entry expires. The quickest of many thousands, which no other program
// disturbed.
func BenchmarkKernelLookUp(b *testing.B) {
	for _, c := range []struct {
		name    string
		expires time.Time
	}{{"tables", time.Now().Add(24 * time.Hour)}, {"remembered", time.Time{}}} {
		for _, n := range []int{1, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", c.name, n), func(b *testing.B) {
				v := loaded(b)
				set := nets(n)
				set.Rules[0].Expires = c.expires
				g := inKernel(b, v, set, time.Now())
				defer g.tables.Close()
				class, err := g.class(&rule.Facts{})
				if err != nil {
					b.Fatal(err)
				}
				q := query(g, class, 6, table.Tuple{Direction: event.Out, Proto: "tcp",
					To: table.Peer{Addr: netip.AddrFrom4([4]byte{byte(11 + n/2>>16), byte(n / 2 >> 8), byte(n / 2), 7}), Port: 443, HasPort: true}})
				var runs []time.Duration
				for b.Loop() {
					answer := q
					took, err := v.Probe(&answer, 1000)
					if err != nil {
						b.Fatal(err)
					}
					if answer.Verdict != bpf.VerdictDeny {
						b.Fatalf("the verdict is %d", answer.Verdict)
					}
					runs = append(runs, took)
				}
				b.ReportMetric(float64(slices.Min(runs).Nanoseconds()), "ns/look-up")
			})
		}
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

// BenchmarkHold is how long a connect takes, as a program sees it: one that the
// tables allow, and ones whose peer's name user space must look at, each anew. Of
// these also how long after its SYN the answer was there; the rest is TCP, which
// sends the next SYN a jiffy later.
func BenchmarkHold(b *testing.B) {
	for _, c := range []struct {
		name string
		host netip.Addr
		want syscall.Errno
	}{{"base", netip.Addr{}, 0}, {"allowed", bpftest.ServerV4, 0}, {"denied", bpftest.ServerV6, unix.ECONNABORTED}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLab(b)
			l.serve(8080)
			l.names = map[string]string{bpftest.ServerV4.String(): "good.test", bpftest.ServerV6.String(): "bad.test"}
			var mu sync.Mutex
			var answered []time.Duration
			l.evaluate = func(ctx context.Context, conn *event.Connection) (rule.Decision, event.Decision) {
				d, recorded := l.engine.Decide(ctx, conn)
				d.Cacheable = false // for its socket only
				mu.Lock()
				answered = append(answered, time.Since(conn.Opened))
				mu.Unlock()
				return d, recorded
			}
			p := l.start()
			if !c.host.IsValid() {
				c.host = bpftest.ServerV4
				l.set(nil, out("by-port", event.ActionAllow, p.path, 8080))
			} else {
				l.set([]rule.Confine{{ID: "locked"}}, toName("bad", event.ActionDeny, p.path, "bad.test"), toName("good", event.ActionAllow, p.path, "good.test"))
			}
			var took []time.Duration
			for b.Loop() {
				errno, d := p.do("tcp %s", netip.AddrPortFrom(c.host, 8080))
				if errno != c.want {
					b.Fatalf("got %v after %s, want %v", errno, d, c.want)
				}
				took = append(took, d)
			}
			reportTimes(b, "", took)
			mu.Lock()
			defer mu.Unlock()
			if c.name != "base" {
				reportTimes(b, "answer-", answered)
			}
		})
	}
}

func reportTimes(b *testing.B, prefix string, took []time.Duration) {
	b.Helper()
	if len(took) == 0 {
		b.Fatal("nobody was asked")
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, prefix+"p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, prefix+"p99-µs")
}
