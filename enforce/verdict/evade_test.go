package verdict

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

// A socket that was passed, and a child, are judged as who uses them.
func TestPassedAndForked(t *testing.T) {
	l := newLab(t)
	l.serve(9090)
	p := l.start()
	l.set(nil, out("no-9090", event.ActionDeny, p.path, 9090), out("no-9090-child", event.ActionDeny, "/proc/self/exe", 9090))
	tap := l.tap()
	p.expect(unix.EPERM, "passed %s:9090", bpftest.ServerV4)
	for range 5 {
		for _, way := range []string{"tcp", "udp"} {
			errno, _ := p.do("forked %s %s:9090", way, bpftest.ServerV4)
			if way == "tcp" && errno != unix.EPERM && errno != unix.ECONNABORTED {
				t.Errorf("%s of a child: %v, want a denial", way, errno)
			}
		}
	}
	for what, n := range tap.seen() {
		if what == "6 9090" {
			t.Errorf("%d packets %q reached the peer", n, what)
		}
	}
}

// Tables that change under load never let a packet of a denied program out.
func TestFlipsLeakNothing(t *testing.T) {
	l := newLab(t)
	l.serve(9090)
	p := l.start()
	rules := func(extra uint16) []rule.Rule {
		return []rule.Rule{out("no-9090", event.ActionDeny, p.path, 9090), out("other", event.ActionDeny, "/nobody", extra)}
	}
	l.set(nil, rules(1)...)
	tap := l.tap()
	flood := p.flood(2 * time.Second)
	flips := uint16(0)
	for ; !flood.over(); flips++ {
		l.set(nil, rules(2+flips)...)
	}
	flood.refused()
	tap.none(9090)
	if flips < 10 {
		t.Errorf("only %d flips", flips)
	}
	t.Logf("%d flips", flips)
}

// What a server was allowed to hear it may answer, and a caller that is denied
// gets nothing.
func TestInbound(t *testing.T) {
	l := newLab(t)
	p := l.start()
	in := rule.Rule{ID: "callers", Action: event.ActionAllow, Match: rule.Match{Process: exe(p.path), Direction: []event.Direction{event.In}, To: toPort(7001)}}
	listen := rule.Rule{ID: "listener", Action: event.ActionAllow, Match: rule.Match{Process: exe(p.path), Direction: []event.Direction{event.Listen}}}
	l.set([]rule.Confine{{ID: "locked", Process: exe(p.path)}}, in, listen)
	for _, network := range []string{"tcp", "udp"} {
		p.expect(0, "echo %s :7001", network)
		p.expect(0, "echo %s :7002", network)
		if err := l.call(network, bpftest.ClientV4.String()+":7001"); err != nil {
			t.Errorf("%s to the allowed port: %v", network, err)
		}
		if err := l.call(network, bpftest.ClientV4.String()+":7002"); err == nil {
			t.Errorf("%s to the denied port was answered", network)
		}
	}
}

// A listener that is older than the rules, plain or of MPTCP, as Go's are, is
// called by whom the rules allow.
func TestInboundOlder(t *testing.T) {
	bpftest.Need(t, bpftest.MPTCP())
	l := newLab(t)
	p := l.start()
	ports := map[string]int{"tcp": 7001, "mptcp": 7011} // the next one is denied
	for network, port := range ports {
		p.expect(0, "echo %s :%d", network, port)
		p.expect(0, "echo %s :%d", network, port+1)
	}
	in := rule.Rule{ID: "callers", Action: event.ActionAllow, Match: rule.Match{Process: exe(p.path), Direction: []event.Direction{event.In},
		To: &rule.EndpointMatch{Port: []rule.PortRange{{First: 7001, Last: 7001}, {First: 7011, Last: 7011}}}}}
	listen := rule.Rule{ID: "listener", Action: event.ActionAllow, Match: rule.Match{Process: exe(p.path), Direction: []event.Direction{event.Listen}}}
	l.set([]rule.Confine{{ID: "locked", Process: exe(p.path)}}, in, listen)
	for network, port := range ports {
		if err := l.call("tcp", fmt.Sprintf("%s:%d", bpftest.ClientV4, port)); err != nil {
			t.Errorf("%s: the allowed port: %v", network, err)
		}
		if err := l.call("tcp", fmt.Sprintf("%s:%d", bpftest.ClientV4, port+1)); err == nil {
			t.Errorf("%s: the denied port was answered", network)
		}
	}
}

// Where everything is denied, whoever the session of an operator came from may
// come again, to the listener that is there.
func TestSessionComesAgain(t *testing.T) {
	l := newLab(t)
	p := l.start()
	p.expect(0, "echo tcp :7001")
	p.expect(0, "echo tcp :7002")
	session := enforce.Session{Peer: bpftest.ServerV4, Local: netip.AddrPortFrom(bpftest.ClientV4, 7001)}
	protected := enforce.Protected{Sessions: []enforce.Session{session}}
	set, err := protected.Merge(rule.NewSet([]rule.Rule{{ID: "nothing", Action: event.ActionDeny}}, []rule.Confine{{ID: "all"}}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	l.set(set.Confine, set.Rules...)
	if err := l.call("tcp", session.Local.String()); err != nil {
		t.Errorf("the operator does not come again: %v", err)
	}
	if err := l.call("tcp", bpftest.ClientV4.String()+":7002"); err == nil {
		t.Error("another port was answered")
	}
	p.expect(unix.EPERM, "listen 127.0.0.1:7777")
}
