package nft_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce"
	"snitch/enforce/nft"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

// eventually waits for what the backend does by itself.
func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > bpftest.Patience(limit) {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

func denied(t testing.TB, w *worker) bool {
	t.Helper()
	return w.do(t, ask{Op: "connect", Net: "tcp", Addr: server}).Errno == unix.ECONNREFUSED
}

// TestHeartbeat lets everything pass when the daemon is gone or stuck, if it is
// to fail open, and nothing more if it is to fail closed.
func TestHeartbeat(t *testing.T) {
	p, client := pairOf(t)
	b := newBackend(t, p.Client)
	d := enforced(parse(t, denyServer))
	d.FailClosed = false
	set(t, b, d)
	for began := time.Now(); time.Since(began) < enforce.BeatTimeout+time.Second; time.Sleep(enforce.BeatEvery / 2) {
		if err := b.Beat(); err != nil {
			t.Fatal(err)
		}
		if !denied(t, client) {
			t.Fatal("it passed while the daemon was well")
		}
	}
	// No more beats: as a crash leaves it.
	took := eventually(t, enforce.BeatTimeout+time.Second, "fail open", func() bool { return !denied(t, client) })
	t.Logf("open %s after the last beat", took)
	if err := b.Close(context.Background(), false); err != nil {
		t.Fatal(err)
	}

	closed := newBackend(t, p.Client)
	set(t, closed, enforced(parse(t, denyServer)))
	if err := closed.Close(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(enforce.BeatTimeout + 200*time.Millisecond)
	if !denied(t, client) {
		t.Error("fail closed: it passed when the daemon was gone")
	}
}

// TestRestored makes the table again when somebody flushed the rule set.
func TestRestored(t *testing.T) {
	for _, failClosed := range []bool{false, true} {
		t.Run(fmt.Sprintf("closed=%t", failClosed), func(t *testing.T) {
			p, client := pairOf(t)
			b := closing(t, newBackend(t, p.Client))
			d := enforced(parse(t, denyServer))
			d.FailClosed = failClosed
			set(t, b, d)
			conn, err := nftables.New(nftables.WithNetNSFd(p.Client.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			conn.FlushRuleset()
			if err := conn.Flush(); err != nil {
				t.Fatal(err)
			}
			_ = b.Beat()
			took := eventually(t, 3*enforce.BeatEvery, "restored", func() bool { return denied(t, client) })
			t.Logf("restored after %s", took)
			if s := b.Status(); s.Problem != "" || s.Generation != 2 {
				t.Errorf("got %+v", s)
			}
		})
	}
}

// TestExpires ends a rule at its time: an allow under confinement, and a deny.
func TestExpires(t *testing.T) {
	p, client := pairOf(t)
	b := closing(t, newBackend(t, p.Client))
	s := parse(t, `
confine:
  - {id: all, process: any}
rules:
  - {id: for-now, action: allow, to: {host: 10.77.0.0/24}}
`)
	at := time.Now().Add(1500 * time.Millisecond)
	s.Rules[0].Expires = at
	set(t, b, enforced(s))
	if denied(t, client) {
		t.Fatal("denied before the allow expired")
	}
	eventually(t, 5*time.Second, "expired", func() bool { return denied(t, client) })
	if late := time.Since(at); late < 0 || late > 100*time.Millisecond {
		t.Errorf("the allow ended %s after its time", late)
	}
	eventually(t, 3*enforce.BeatEvery, "table without the rule", func() bool { return b.Status().Generation == 2 })
}

// TestOlder lets connections live that are older than the table, and that it
// could only guess the direction of; a server's answers above all.
func TestOlder(t *testing.T) {
	p := bpftest.NewPair(t)
	var l net.Listener
	if err := p.Client.Do(func() (err error) { l, err = net.Listen("tcp", bpftest.ClientV4.String()+":22"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var c net.Conn
	if err := p.Server.Do(func() (err error) { c, err = net.Dial("tcp", l.Addr().String()); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	session, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	b := closing(t, newBackend(t, p.Client))
	d := enforced(parse(t, "confine:\n  - {id: all, process: any}\n"))
	for round := range 2 { // once more: a new table knows them still
		set(t, b, d)
		for i, end := range [][2]net.Conn{{session, c}, {c, session}} {
			_ = end[1].SetReadDeadline(time.Now().Add(time.Second))
			if _, err := end[0].Write([]byte("x")); err != nil {
				t.Fatalf("round %d, end %d: write: %v", round, i, err)
			}
			if _, err := end[1].Read(make([]byte, 1)); err != nil {
				t.Fatalf("round %d, end %d: read: %v", round, i, err)
			}
		}
	}
}

// TestCgroupMadeAgain follows a cgroup that is removed and made anew under its
// path, as restarted services do.
func TestCgroupMadeAgain(t *testing.T) {
	p, _ := pairOf(t)
	bpftest.Need(t, cgroupMatch(p.Client))
	root := bpftest.NewCgroup(t)
	b := closing(t, newBackend(t, p.Client))
	s := rule.NewSet([]rule.Rule{{ID: "service", Action: event.ActionDeny, Mode: event.ModeEnforce, Match: rule.Match{
		Process: &rule.ProcessMatch{Cgroup: []rule.Pattern{{Text: root.Path() + "/svc", Kind: rule.PathPattern}}}}}}, nil, nil, nil)
	set(t, b, enforced(s))
	for round := range 2 {
		svc := child(t, root, "svc")
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			w := startWorker(t, bpftest.Place{Net: p.Client, Cgroup: svc})
			b.Process(&event.Process{Cgroup: event.Cgroup{ID: 1, Path: svc.Path()}})
			took := eventually(t, 2*enforce.BeatEvery, "denied", func() bool { return denied(t, w) })
			t.Logf("followed after %s", took)
		})
		if err := svc.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestScope judges nothing outside the cgroup that was named.
func TestScope(t *testing.T) {
	p, outside := pairOf(t)
	bpftest.Need(t, cgroupMatch(p.Client))
	root := bpftest.NewCgroup(t)
	inside := startWorker(t, bpftest.Place{Net: p.Client, Cgroup: child(t, root, "in")})
	b := closing(t, newBackend(t, p.Client))
	d := enforced(parse(t, denyServer))
	d.Scope = root.Dir()
	set(t, b, d)
	if !denied(t, inside) || denied(t, outside) {
		t.Error("got the scope wrong: denied inside and not outside is right")
	}
	d.Scope = "/etc"
	if err := b.Set(context.Background(), d); err == nil {
		t.Error("a scope outside of the hierarchy was taken")
	}
}

// TestLargeList fits a list of 100,000 networks and 2,000 rules into one batch.
func TestLargeList(t *testing.T) {
	p, client := pairOf(t)
	b := closing(t, newBackend(t, p.Client))
	var hosts []rule.Host
	for i := range 100_000 {
		a := netip.AddrFrom4([4]byte{11, byte(i >> 15), byte(i >> 7), byte(i << 1)})
		hosts = append(hosts, rule.Host{Kind: rule.HostNet, Net: netip.PrefixFrom(a, 32)})
	}
	hosts = append(hosts, rule.Host{Kind: rule.HostNet, Net: netip.MustParsePrefix("10.77.0.2/32")})
	to := &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostList, Name: "bad"}}}
	rules := []rule.Rule{{ID: "bad", Action: event.ActionDeny, Mode: event.ModeEnforce, Match: rule.Match{To: to}}}
	for i := range 2000 {
		rules = append(rules, rule.Rule{ID: fmt.Sprintf("r%d", i), Action: event.ActionAllow, Mode: event.ModeEnforce,
			Match: rule.Match{Direction: []event.Direction{event.Out}, Process: &rule.ProcessMatch{UID: []rule.UIDRange{{First: uint32(70000 + i), Last: uint32(70000 + i)}}}}})
	}
	s := rule.NewSet(rules, nil, []*rule.List{rule.NewList("bad", hosts)}, nil)
	for range 2 {
		began := time.Now()
		set(t, b, enforced(s))
		t.Logf("%d entries in %s", b.Status().Entries, time.Since(began))
	}
	if !denied(t, client) {
		t.Error("the list does not hold")
	}
}

// TestReloads changes the table under connections without an open moment.
func TestReloads(t *testing.T) {
	p, client := pairOf(t)
	b := closing(t, newBackend(t, p.Client))
	d := enforced(parse(t, denyServer))
	set(t, b, d)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := b.Set(context.Background(), d); err != nil {
				done <- err
				return
			}
		}
	}()
	const tries = 1000
	for range tries {
		if got := client.do(t, ask{Op: "connect", Net: "tcp", Addr: server}); got.Errno != unix.ECONNREFUSED {
			t.Errorf("a connection passed: %+v", got)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d reloads under %d denied connections", b.Status().Generation, tries)
}

// TestNothingLeft holds that descriptors come back.
func TestNothingLeft(t *testing.T) {
	bpftest.CheckDescriptors(t)
	ns := bpftest.NewNamespace(t)
	for range 3 {
		b := newBackend(t, ns)
		set(t, b, enforced(parse(t, denyServer)))
		if err := b.Close(context.Background(), false); err != nil {
			t.Fatal(err)
		}
	}
	if left := tables(t, ns); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestLimits names what holds in part only.
func TestLimits(t *testing.T) {
	s := parse(t, `
confine:
  - {id: c, process: {uid: 1000}}
rules:
  - {id: a, action: alert, process: {exe: /usr/bin/git}}
  - {id: b, action: deny, direction: [in, listen], to: {port: 25}}
  - {id: d, action: deny, direction: in, process: {uid: 5}}
  - {id: e, action: deny, direction: listen}
`)
	var got []string
	for _, u := range slices.Concat(nft.Limits(s), nft.Refused(s)) {
		got = append(got, u.Rule+" "+strings.SplitN(u.Reason, ":", 2)[0])
	}
	want := "a not counted by the table,b direction,c process,d process,e direction"
	if strings.Join(got, ",") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

var errNoRoutes = errors.New("source routes")

// TestSourceRoutes refuses packets that name their real destination elsewhere
// than where rules look. Any program may ask for such a way.
func TestSourceRoutes(t *testing.T) {
	p, _ := pairOf(t)
	b := closing(t, newBackend(t, p.Client))
	set(t, b, enforced(parse(t, "rules:\n  - {id: some, action: allow, to: {port: 1}}\n")))
	via4, via6 := bpftest.ServerV4.As4(), bpftest.ServerV6.As16()
	for _, x := range []struct {
		name          string
		level, option int
		value         []byte
		to            netip.Addr
	}{
		{"loose", unix.IPPROTO_IP, unix.IP_OPTIONS, append([]byte{131, 7, 4}, via4[:]...), bpftest.ServerV4},
		{"strict", unix.IPPROTO_IP, unix.IP_OPTIONS, append([]byte{137, 7, 4}, via4[:]...), bpftest.ServerV4},
		{"segments", unix.IPPROTO_IPV6, unix.IPV6_RTHDR, append([]byte{0, 2, 4, 0, 0, 0, 0, 0}, via6[:]...), bpftest.ServerV6},
	} {
		t.Run(x.name, func(t *testing.T) {
			family, peer := sockaddr(netip.AddrPortFrom(x.to, 443))
			err := p.Client.Do(func() error {
				fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				if err := unix.Sendto(fd, []byte("x"), 0, peer); err != nil {
					t.Errorf("without a route: %v", err)
				}
				if err := unix.SetsockoptString(fd, x.level, x.option, string(x.value)); err != nil {
					return fmt.Errorf("%w: %w", errNoRoutes, err)
				}
				return unix.Sendto(fd, []byte("x"), 0, peer)
			})
			if errors.Is(err, errNoRoutes) {
				t.Skip("missing feature: " + err.Error())
			}
			if !errors.Is(err, unix.EPERM) {
				t.Errorf("got %v, want EPERM", err)
			}
		})
	}
}
