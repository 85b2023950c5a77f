package nft_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce/nft"
	"snitch/enforce/nft/queue"
)

const (
	queueNumber = 77
	denyMark    = 1 << 30
)

// nfqueue is what every hold needs.
func nfqueue(ns *bpftest.Namespace) *bpftest.Feature {
	return &bpftest.Feature{Name: "NFQUEUE", Config: "CONFIG_NETFILTER_NETLINK_QUEUE", Probe: func() error {
		q, err := queue.Open(queue.Config{Number: 1, NetNS: ns.Fd(), Deadline: time.Second, AtDeadline: queue.Allow}, nil)
		if err != nil {
			return err
		}
		return q.Close()
	}}
}

// held is a client whose connections wait for decide.
type held struct {
	client *worker
	queue  *queue.Queue
	hold   *nft.Hold
}

func newHeld(t testing.TB, cfg queue.Config, decide queue.Decide) *held {
	t.Helper()
	p := bpftest.NewPair(t)
	bpftest.Need(t, nfqueue(p.Client), cgroupMatch(p.Client))
	startWorker(t, bpftest.Place{Net: p.Server}).serve(t, 0, 443)
	cg := bpftest.NewCgroup(t)
	h := &held{client: startWorker(t, bpftest.Place{Net: p.Client, Cgroup: cg})}
	cfg.Number, cfg.NetNS, cfg.DenyMark = queueNumber, p.Client.Fd(), denyMark
	if cfg.Deadline == 0 {
		cfg.Deadline, cfg.AtDeadline = 10*time.Second, queue.Deny
	}
	var err error
	if h.queue, err = queue.Open(cfg, decide); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.queue.Close(); err != nil {
			t.Errorf("close queue: %v", err)
		}
	})
	var st unix.Stat_t
	if err := unix.Stat(cg.Dir(), &st); err != nil {
		t.Fatal(err)
	}
	h.hold, err = nft.OpenHold(nft.HoldConfig{Table: nft.HoldName(stateDir), NetNS: p.Client.Fd(), Number: queueNumber,
		CgroupLevel: strings.Count(cg.Path(), "/"), CgroupID: st.Ino, DenyMark: denyMark, Bypass: cfg.FailOpen})
	if errors.Is(err, nft.ErrNoQueue) {
		t.Skip("missing feature: " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.hold.Close(); err != nil {
			t.Errorf("close hold: %v", err)
		}
		if left := tables(t, p.Client); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	return h
}

func (h *held) stats(t testing.TB) queue.Stats {
	t.Helper()
	s, err := h.queue.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func always(v queue.Verdict) queue.Decide {
	return func(context.Context, *queue.Packet) queue.Verdict { return v }
}

// TestHold asks about connections of both protocols and sees the answer at the
// program.
func TestHold(t *testing.T) {
	var verdict atomic.Uint32
	var mu sync.Mutex
	var seen []queue.Packet
	h := newHeld(t, queue.Config{}, func(_ context.Context, p *queue.Packet) queue.Verdict {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, *p)
		return queue.Verdict(verdict.Load())
	})
	t.Logf("native queue expression: %t", h.hold.Native())
	want := map[string]unix.Errno{"tcp": unix.ECONNREFUSED, "udp": unix.EHOSTUNREACH}
	for _, host := range []netip.Addr{bpftest.ServerV4, bpftest.ServerV6} {
		for network, errno := range want {
			a := ask{Op: "connect", Net: network, Addr: netip.AddrPortFrom(host, 443), UID: 1000}
			verdict.Store(uint32(queue.Allow))
			if got := h.client.do(t, a); !got.Echoed {
				t.Errorf("%s allowed: got %v, want an answer", a, got.Errno)
			}
			verdict.Store(uint32(queue.Deny))
			got := h.client.do(t, a)
			if host.Is6() && network == "udp" {
				errno = unix.EACCES
			}
			if got.Errno != errno || got.Took > bpftest.Patience(50*time.Millisecond) {
				t.Errorf("%s denied: got %v after %v, want %v at once", a, got.Errno, got.Took, errno)
			}
			mu.Lock()
			for _, p := range seen {
				if p.Target != a.Addr || !p.HasUID || p.UID != 1000 || p.Source.Port() == 0 {
					t.Errorf("%s: the queue showed %+v", a, p)
				}
			}
			if len(seen) != 2 {
				t.Errorf("%s: the queue showed %d packets, want one each time", a, len(seen))
			}
			seen = nil
			mu.Unlock()
		}
	}
	s := h.stats(t)
	selected, err := h.hold.Selected()
	if err != nil || selected != 8 || s.Received != 8 || s.Allowed != 4 || s.Denied != 4 || s.Waiting+int(s.Unsent+s.Malformed+s.Dropped) != 0 {
		t.Errorf("got %+v, %d selected, %v", s, selected, err)
	}
}

// TestHoldDeadline gives the default when nobody decides, and counts the
// decision that comes too late.
func TestHoldDeadline(t *testing.T) {
	for _, v := range []queue.Verdict{queue.Allow, queue.Deny} {
		t.Run(v.String(), func(t *testing.T) {
			const deadline = 100 * time.Millisecond
			h := newHeld(t, queue.Config{Deadline: deadline, AtDeadline: v}, func(ctx context.Context, _ *queue.Packet) queue.Verdict {
				<-ctx.Done()
				return 3 - v
			})
			got := h.client.do(t, ask{Op: "connect", Net: "tcp", Addr: server})
			if got.Echoed != (v == queue.Allow) || got.Took < deadline || got.Took > 3*deadline {
				t.Errorf("got %+v, want %s after %s", got, v, deadline)
			}
			time.Sleep(20 * time.Millisecond) // the late decision is counted behind the verdict
			if s := h.stats(t); s.Expired != 1 || s.Late != 1 {
				t.Errorf("got %+v, want one expired and one late", s)
			}
		})
	}
}

// TestHoldOverload fills the queue: what does not fit does as the fail mode says.
func TestHoldOverload(t *testing.T) {
	for _, open := range []bool{true, false} {
		t.Run(map[bool]string{true: "open", false: "closed"}[open], func(t *testing.T) {
			release := make(chan struct{})
			h := newHeld(t, queue.Config{MaxLen: 1, FailOpen: open}, func(ctx context.Context, p *queue.Packet) queue.Verdict {
				if p.UID == 1000 {
					<-release
				}
				return queue.Deny
			})
			first := make(chan answer)
			blocked := ask{Op: "connect", Net: "udp", Addr: server, UID: 1000}
			go func() { first <- h.client.do(t, blocked) }()
			for h.stats(t).Waiting == 0 {
				time.Sleep(time.Millisecond)
			}
			if got := <-first; got.Echoed {
				t.Error("the held packet passed")
			}
			got := h.client.do(t, ask{Op: "connect", Net: "udp", Addr: server})
			if got.Echoed != open {
				t.Errorf("what did not fit: got %+v, want it to pass: %t", got, open)
			}
			s := h.stats(t)
			selected, err := h.hold.Selected()
			if err != nil || selected != 2 || s.Received != 1 || (s.Dropped == 1) == open {
				t.Errorf("got %+v and %d selected (%v), want 2 selected and 1 received", s, selected, err)
			}
			close(release)
		})
	}
}

// TestHoldWithoutReader lets packets pass when the daemon is gone, or drops them.
func TestHoldWithoutReader(t *testing.T) {
	for _, open := range []bool{true, false} {
		h := newHeld(t, queue.Config{FailOpen: open}, always(queue.Deny))
		if err := h.queue.Close(); err != nil {
			t.Fatal(err)
		}
		if got := h.client.do(t, ask{Op: "connect", Net: "tcp", Addr: server}); got.Echoed != open {
			t.Errorf("got %v, want it to pass: %t", got.Errno, open)
		}
	}
}

// TestHoldLatency tells what a hold costs the program: connect with a decision
// at once.
func TestHoldLatency(t *testing.T) {
	const rounds = 500
	_, client := pairOf(t)
	base := latencies(t, client, rounds)
	t.Logf("not held: connect p50 %s, p99 %s", base[rounds/2], base[rounds*99/100])
	for _, v := range []queue.Verdict{queue.Allow, queue.Deny} {
		h := newHeld(t, queue.Config{}, always(v))
		took := latencies(t, h.client, rounds)
		t.Logf("%s: connect p50 %s, p99 %s", v, took[rounds/2], took[rounds*99/100])
		if took[rounds/2] > 50*time.Millisecond {
			t.Errorf("%s: half of the connects took more than %s", v, took[rounds/2])
		}
	}
}

// latencies are how long connects took, sorted.
func latencies(t testing.TB, client *worker, rounds int) (took []time.Duration) {
	t.Helper()
	for range rounds {
		took = append(took, client.do(t, ask{Op: "connect", Net: "tcp", Addr: server}).Took)
	}
	slices.Sort(took)
	return took
}

// BenchmarkHold is how long a connect takes, as a program sees it: not held, and
// held by a queue whose reader answers at once.
func BenchmarkHold(b *testing.B) {
	for _, c := range []struct {
		name string
		v    queue.Verdict
	}{{"base", 0}, {"allowed", queue.Allow}, {"denied", queue.Deny}} {
		b.Run(c.name, func(b *testing.B) {
			var client *worker
			if c.v == 0 {
				_, client = pairOf(b)
			} else {
				client = newHeld(b, queue.Config{}, always(c.v)).client
			}
			took := latencies(b, client, 1)[:0]
			for b.Loop() {
				took = append(took, client.do(b, ask{Op: "connect", Net: "tcp", Addr: server}).Took)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
		})
	}
}
