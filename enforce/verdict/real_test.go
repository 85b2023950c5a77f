package verdict

import (
	"errors"
	"flag"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/bpf/bpftest"
	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
	"snitch/policy/table"
)

var attempts = flag.Int("attempts", 10_000, "how many real attempts TestRealAttempts makes")

// enterCgroup moves this process into a cgroup of the test's own, and back.
func enterCgroup(t testing.TB) string {
	t.Helper()
	root, err := bpftest.CgroupRoot()
	if err != nil {
		t.Fatal(err)
	}
	self := []byte(strconv.Itoa(os.Getpid()))
	c := bpftest.NewCgroup(t)
	t.Cleanup(func() {
		if err := os.WriteFile(filepath.Join(root, "cgroup.procs"), self, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(c.Dir(), "cgroup.procs"), self, 0); err != nil {
		t.Fatal(err)
	}
	return c.Dir()
}

// selfID is this process as the kernel's events name it.
func selfID(t testing.TB, v *bpf.Verdicts) (id bpf.VerdictID) {
	t.Helper()
	if c, err := net.Dial("udp4", "127.0.0.1:9"); err == nil {
		c.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); id.Start == 0; {
		err := v.Poll(100*time.Millisecond, func(e *bpf.VerdictEvent) {
			if int(e.Id.Pid) == os.Getpid() {
				id = e.Id
			}
		})
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no event of this process: %v", err)
		}
	}
	return id
}

// TestRealAttempts holds what real system calls meet against the look-up in Go:
// random policies, UDP sockets that connect and send, TCP that connects, both
// families, in a network namespace of its own.
func TestRealAttempts(t *testing.T) {
	n := *attempts
	if testing.Short() {
		n = min(n, 2000)
	}
	ns := bpftest.NewNamespace(t)
	v, err := bpf.LoadVerdicts(bpf.VerdictConfig{Cgroup: enterCgroup(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(false); err != nil {
			t.Error(err)
		}
	})
	v.SetDefaults(bpf.VerdictDefaults{BeatLimit: time.Hour, Undecided: bpf.VerdictAllow})
	var id bpf.VerdictID
	counts := map[table.Verdict]int{}
	r := rand.New(rand.NewPCG(5, 6))
	for seed, done := uint64(1), 0; done < n; seed++ {
		gen := ruletest.New(seed)
		set := gen.SetOf(12, 1)
		for i := range set.Rules {
			set.Rules[i].Match.From = nil // known only when the packet is made
			for j := range set.Rules[i].Except {
				set.Rules[i].Except[j].From = nil
			}
		}
		g := inKernel(t, v, set, time.Now())
		f := gen.Facts(set)
		class, err := g.class(&f)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(v.Beat(), v.Flip(g.number, g.tables)); err != nil {
			t.Fatal(err)
		}
		if id.Start == 0 {
			if err := v.Attach(); err != nil {
				t.Fatal(err)
			}
			v.SetMode(true)
			id = selfID(t, v)
		}
		s := bpf.VerdictSubject{}
		s.Class[g.number&1], s.Generation[g.number&1] = uint32(class), g.number
		if err := v.PutSubject(id, s); err != nil {
			t.Fatal(err)
		}
		for range n / 20 { // of twenty policies: one alone may say the same of everything
			done++
			a := randomAttempt(r, gen, set)
			want := g.classes.Lookup(class, a.tuple(), time.Now())
			var got error
			if err := ns.Do(func() error { got = a.make(); return nil }); err != nil {
				t.Fatal(err)
			}
			counts[want.Verdict]++
			if errors.Is(got, unix.EPERM) != (want.Verdict == table.Deny) {
				t.Fatalf("seed %d: %+v: %v, the tables say %s by %q", seed, a, got, want.Verdict, want.Rule)
			}
		}
		if err := g.tables.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d attempts: %v", n, counts)
	if counts[table.Deny] < n/20 || counts[table.Allow]+counts[table.Alert] < n/20 {
		t.Errorf("%v: the test says little", counts)
	}
}

// attempt is a system call with a peer.
type attempt struct {
	to  netip.AddrPort
	tcp bool
	how int
}

func randomAttempt(r *rand.Rand, gen *ruletest.Gen, set *rule.Set) attempt {
	f := gen.Facts(set)
	a := attempt{tcp: r.IntN(3) == 0, how: r.IntN(2)}
	addr := f.To.Addr
	if !addr.IsValid() || addr.IsUnspecified() {
		addr = netip.MustParseAddr("127.0.0.1")
	}
	a.to = netip.AddrPortFrom(addr, max(1, f.To.Port))
	return a
}

func (a *attempt) tuple() table.Tuple {
	proto := "udp"
	if a.tcp {
		proto = "tcp"
	}
	return table.Tuple{Direction: event.Out, Proto: proto, To: table.Peer{Addr: a.to.Addr(), Port: a.to.Port(), HasPort: true}}
}

// make makes the attempt; other errors than a denial are of no interest: most
// addresses have no route.
func (a *attempt) make() error {
	family, kind := unix.AF_INET, unix.SOCK_DGRAM
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(a.to.Port())}
	if a.to.Addr().Is6() {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.to.Port()), Addr: a.to.Addr().As16()}
	} else {
		to.(*unix.SockaddrInet4).Addr = a.to.Addr().As4()
	}
	if a.tcp {
		kind = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if a.tcp || a.how == 0 {
		return unix.Connect(fd, to)
	}
	return unix.Sendto(fd, []byte("x"), 0, to)
}
