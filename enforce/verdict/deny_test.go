package verdict

import (
	"testing"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

func exe(path string) *rule.ProcessMatch {
	return &rule.ProcessMatch{Exe: []rule.Pattern{{Text: path, Kind: rule.PathPattern}}}
}

func toPort(port uint16) *rule.EndpointMatch {
	return &rule.EndpointMatch{Port: []rule.PortRange{{First: port, Last: port}}}
}

func out(id string, a event.Action, path string, port uint16) rule.Rule {
	return rule.Rule{ID: id, Action: a, Match: rule.Match{Process: exe(path), Direction: []event.Direction{event.Out}, To: toPort(port)}}
}

// What is denied fails at once on every way, nothing reaches the peer, and the
// record names the rule; what is allowed works.
func TestDeniedAndAllowed(t *testing.T) {
	l := newLab(t)
	l.serve(8080)
	l.serve(9090)
	p := l.start()
	l.set(nil, out("no-9090", event.ActionDeny, p.path, 9090))
	tap := l.tap()
	ways := []string{"tcp %s:9090", "udp %s:9090", "sendto %s:9090", "fastopen %s:9090", "again %[1]s:8080 %[1]s:9090",
		"connectudp %[1]s:8080 %[1]s:9090"}
	for _, host := range []string{bpftest.ServerV4.String(), "[" + bpftest.ServerV6.String() + "]"} {
		for _, way := range ways {
			p.expect(unix.EPERM, way, host)
		}
		tap.none(9090)
		p.expect(0, "tcp %s:8080", host)
		p.expect(0, "udp %s:8080", host)
		p.expect(0, "sendto %s:8080", host)
	}
	p.expect(unix.EPERM, "mapped %s:9090", bpftest.ServerV4)
	p.expect(0, "mapped %s:8080", bpftest.ServerV4)
	tap.none(9090)
	l.denied("no-9090", 2*len(ways)+1)
}

// A confined program may do what it was granted and nothing else: no raw
// socket, no listener, no other port.
func TestConfined(t *testing.T) {
	l := newLab(t)
	l.serve(8080)
	l.serve(9090)
	p := l.start()
	l.set([]rule.Confine{{ID: "locked", Process: exe(p.path)}}, out("granted", event.ActionAllow, p.path, 8080))
	tap := l.tap()
	p.expect(0, "tcp %s:8080", bpftest.ServerV4)
	p.expect(0, "udp [%s]:8080", bpftest.ServerV6)
	p.expect(unix.EPERM, "tcp %s:9090", bpftest.ServerV4)
	p.expect(unix.EPERM, "udp [%s]:9090", bpftest.ServerV6)
	p.expect(unix.EPERM, "raw %s", bpftest.ServerV4)
	p.expect(unix.EPERM, "listen 127.0.0.1:7777")
	tap.none(9090)
	l.denied("locked", 4)
	other := l.start() // not confined
	other.expect(0, "tcp %s:9090", bpftest.ServerV4)
	other.expect(0, "raw %s", bpftest.ServerV4)
	other.expect(0, "listen 127.0.0.1:7777")
}

// Connections that a new policy forbids are cut at once, and others are not.
func TestCut(t *testing.T) {
	l := newLab(t)
	l.serve(8080)
	l.serve(9090)
	for _, host := range []string{bpftest.ServerV4.String(), "[" + bpftest.ServerV6.String() + "]"} {
		for _, network := range []string{"tcp", "udp"} {
			doomed, spared := l.start(), l.start()
			l.set(nil)
			doomed.expect(0, "keep %s %s:9090", network, host)
			doomed.expect(0, "use")
			spared.expect(0, "keep %s %s:9090", network, host)
			l.set(nil, out("no-9090", event.ActionDeny, doomed.path, 9090))
			want := unix.ECONNABORTED
			if network == "udp" {
				want = unix.EDESTADDRREQ // it has no peer any more
			}
			doomed.expect(want, "use")
			spared.expect(0, "use")
		}
	}
	if cut := l.stats.cut.Load(); cut != 4 {
		t.Errorf("%d connections were cut, want 4", cut)
	}
}
