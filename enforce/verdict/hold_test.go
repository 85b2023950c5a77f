package verdict

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

func toName(id string, a event.Action, path, name string) rule.Rule {
	return rule.Rule{ID: id, Action: a, Match: rule.Match{Process: exe(path), Direction: []event.Direction{event.Out},
		To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostName, Name: name}}}}}
}

// A connect that only user space can decide waits for it: the allowed one never
// fails, the denied one ends at once, and no SYN of either leaves before.
func TestHeldConnects(t *testing.T) {
	l := newLab(t)
	l.serve(8080)
	l.names = map[string]string{bpftest.ServerV4.String(): "good.test", bpftest.ServerV6.String(): "bad.test"}
	var programs []*program
	var took, denied []time.Duration
	for range 20 {
		programs = append(programs, l.start())
	}
	var rules []rule.Rule
	for i, p := range programs {
		id := string(rune('a' + i))
		rules = append(rules, toName("bad-"+id, event.ActionDeny, p.path, "bad.test"), toName("good-"+id, event.ActionAllow, p.path, "good.test"))
	}
	l.set([]rule.Confine{{ID: "locked"}}, rules...)
	tap := l.tap()
	for _, p := range programs {
		errno, d := p.do("tcp %s:8080", bpftest.ServerV4)
		if errno != 0 {
			t.Errorf("a held connect that is allowed: %v", errno)
		}
		took = append(took, d)
	}
	if n := tap.seen()["6 8080"]; n < 20 {
		t.Errorf("%d packets of allowed connects, want 20 or more", n)
	}
	for _, p := range programs {
		errno, d := p.do("tcp [%s]:8080", bpftest.ServerV6)
		if errno != unix.ECONNABORTED {
			t.Errorf("a held connect that is denied: %v after %s", errno, d)
		}
		denied = append(denied, d)
	}
	tap.none(8080)
	slices.Sort(took)
	slices.Sort(denied)
	t.Logf("allowed after a hold: median %s, longest %s", took[len(took)/2], took[len(took)-1])
	t.Logf("denied after a hold: median %s, longest %s", denied[len(denied)/2], denied[len(denied)-1])
	if denied[len(denied)/2] > bpftest.Patience(500*time.Millisecond) {
		t.Errorf("denied connects end late: %v", denied)
	}
	for i := range programs {
		l.denied("bad-"+string(rune('a'+i)), 1)
	}
	if s := l.Status(); s.Held < 40 {
		t.Errorf("%d connects were held, want 40", s.Held)
	}
}

// At the deadline the configured default holds, however slow the decision.
func TestHoldDeadline(t *testing.T) {
	l := newLab(t)
	l.serve(8080)
	l.slow = 2 * time.Second
	p := l.start()
	for _, c := range []struct {
		at   event.Action
		want unix.Errno
	}{{event.ActionAllow, 0}, {event.ActionDeny, unix.ECONNABORTED}} {
		d := enforce.Desired{Hold: enforce.HoldConfig{Deadline: 100 * time.Millisecond, AtDeadline: c.at}}
		l.apply(d, nil, toName("bad", event.ActionDeny, p.path, "bad.test"))
		errno, took := p.do("tcp %s:8080", bpftest.ServerV4)
		if errno != c.want || took < 100*time.Millisecond || took > 500*time.Millisecond {
			t.Errorf("%s at the deadline: %v after %s, want %v after 100 ms", c.at, errno, took, c.want)
		}
	}
}

// A program that nobody has classified yet does not fail and does not escape.
func TestNewPrograms(t *testing.T) {
	l := newLab(t)
	l.serve(8080)
	l.serve(9090)
	l.set(nil, out("no-9090", event.ActionDeny, "/**", 9090))
	programs := 20
	if testing.Short() {
		programs = 4
	}
	for range programs {
		p := l.begin()
		if errno, took := p.do("tcp %s:9090", bpftest.ServerV4); errno != unix.ECONNABORTED && errno != unix.EPERM {
			t.Errorf("denied to a new program: %v after %s", errno, took)
		}
		q := l.begin()
		q.expect(0, "tcp %s:8080", bpftest.ServerV4)
	}
}
