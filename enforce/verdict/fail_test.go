package verdict

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/bpf/bpftest"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

// However the daemon goes, what it denied stays denied until the beat is missed,
// and after that the fail mode holds: closed, not one packet of a denied program
// leaves; open, everything works. What the rules allow works all the time.
func TestDaemonGoes(t *testing.T) {
	for _, way := range []struct {
		name  string
		leave func(*testing.T, *holder)
	}{
		{"killed", func(_ *testing.T, h *holder) { h.kill() }},
		{"stopped", func(_ *testing.T, h *holder) { h.signal(unix.SIGSTOP) }},
		{"out of memory", func(t *testing.T, h *holder) { h.starve(t) }},
	} {
		for _, closed := range []string{"", "1"} {
			t.Run(way.name+", closed="+closed, func(t *testing.T) {
				if testing.Short() && way.name != "killed" {
					t.Skip("short: one way to go is enough")
				}
				l := newLab(t)
				l.serve(8080)
				l.serve(9090)
				h := l.startHolder(l.pins(), closed)
				known, user := l.begin(), l.begin()
				known.becomesKnown()
				user.becomesKnown()
				tap := l.tap()
				const goes = enforce.BeatTimeout + time.Second
				use := user.reach(goes)
				if closed == "" {
					way.leave(t, h)
					until(t, func() bool { errno, _ := known.do("tcp %s:9090", bpftest.ServerV4); return errno == 0 })
					known.expect(0, "udp %s:9090", bpftest.ServerV4)
				} else {
					flood := known.flood(goes)
					way.leave(t, h)
					flood.refused()
					tap.none(9090)
				}
				use.worked()
				l.afterwards(h, closed)
			})
		}
	}
}

// becomesKnown waits until a holder has classified the program: what nobody
// knows yet may send.
func (p *program) becomesKnown() {
	p.l.Helper()
	until(p.l.TB, func() bool { errno, _ := p.do("udp %s:9090", bpftest.ServerV4); return errno == unix.EPERM })
}

// afterwards is what programs meet that nobody has classified, and those that a
// daemon meets that comes back.
func (l *lab) afterwards(h *holder, closed string) {
	l.Helper()
	unknown, want := l.begin(), unix.Errno(0)
	if closed != "" {
		want = unix.EPERM
	}
	unknown.expect(want, "tcp %s:8080", bpftest.ServerV4)
	unknown.expect(want, "sendto %s:8080", bpftest.ServerV4)
	if h.gone {
		return
	}
	h.signal(unix.SIGCONT)
	until(l.TB, func() bool { errno, _ := unknown.do("tcp %s:9090", bpftest.ServerV4); return errno == unix.EPERM })
	until(l.TB, func() bool { errno, _ := unknown.do("tcp %s:8080", bpftest.ServerV4); return errno == 0 })
}

// A daemon that takes over from one that was killed leaves no gap: what is
// denied is refused all the time, what is allowed works; also where the maps of
// one are not those of the other.
func TestUpgrade(t *testing.T) {
	t.Run("same version", func(t *testing.T) { upgrade(t, "") })
	t.Run("another version", func(t *testing.T) { upgrade(t, "more") })
}

// upgrade kills and begins again as long as a flood lasts; with sizes, every
// second daemon has other maps.
func upgrade(t *testing.T, sizes string) {
	l := newLab(t)
	l.serve(8080)
	l.serve(9090)
	pins := l.pins()
	h := l.startHolder(pins, "1")
	known, user := l.begin(), l.begin()
	known.becomesKnown()
	user.becomesKnown()
	tap := l.tap()
	use := user.reach(3 * time.Second)
	flood := known.flood(3 * time.Second)
	upgrades := 0
	for ; upgrades == 0 || !flood.over(); upgrades++ {
		h.kill()
		h = l.startHolder(pins, "1", holderMore+"="+strings.Repeat(sizes, (upgrades+1)%2))
	}
	flood.refused()
	use.worked()
	tap.none(9090)
	t.Logf("%d upgrades", upgrades)
}

// failing is a way in which the backend cannot do what it should.
type failing struct {
	name   string
	kernel bpf.VerdictConfig
	// evaluate is who decides then; nil: the engine does.
	evaluate func(ctx context.Context, l *lab, c *event.Connection) (rule.Decision, event.Decision)
	// meet makes it happen: by p, which is in a rule that only user space can
	// decide, and q, which is in none.
	meet func(l *lab, p, q *program)
	// open and closed are how a connect of p ends that only user space can decide.
	open, closed unix.Errno
}

func failings() []failing {
	return []failing{
		{name: "full subjects", kernel: bpf.VerdictConfig{Subjects: 4}, meet: fullSubjects},
		{name: "full decisions", kernel: bpf.VerdictConfig{Decisions: 2}, meet: func(_ *lab, p, _ *program) {
			p.do("peers %s 500 each", bpftest.ServerV4)
		}},
		{name: "full peers", kernel: bpf.VerdictConfig{Peers: 2}, meet: func(_ *lab, _, q *program) {
			q.expect(0, "peers %s 5000 one", bpftest.ServerV4)
		}},
		{name: "full ring", kernel: bpf.VerdictConfig{RingBytes: 4096}, meet: fullRing},
		{name: "failing evaluator", evaluate: failingEvaluator, open: unix.ECONNABORTED, closed: unix.ECONNABORTED},
		{name: "no answer", evaluate: noAnswer, closed: unix.ECONNABORTED},
		{name: "full queue", evaluate: noAnswer, closed: unix.ECONNABORTED, meet: func(l *lab, p, _ *program) {
			p.do("peers %s 4000 each", bpftest.ServerV4)
			if l.Status().Lost == 0 {
				l.Error("the queue was never full")
			}
		}},
	}
}

// fullSubjects has programs for whom there is no room: user space decides for
// them.
func fullSubjects(l *lab, _, _ *program) {
	for range 4 {
		unknown := l.start()
		if errno, _ := unknown.do("tcp %s:9090", bpftest.ServerV4); errno != unix.EPERM && errno != unix.ECONNABORTED {
			l.Errorf("denied to a program without room: %v", errno)
		}
		unknown.expect(0, "tcp %s:8080", bpftest.ServerV4)
	}
	counts, err := l.kernel.Counts()
	if err != nil || counts[bpf.CountUnknown] == 0 {
		l.Errorf("there was room for all: %v, %v", counts, err)
	}
}

func fullRing(l *lab, p, _ *program) {
	p.flood(time.Second).refused()
	counts, err := l.kernel.Counts()
	if err != nil || counts[bpf.CountRingFull] == 0 || l.Status().Lost == 0 {
		l.Errorf("the ring was never full: %v, %v", counts, err)
	}
}

// failingEvaluator is the engine that fails: the fall-back of the policy holds,
// which is to deny whom an enforced deny may concern.
func failingEvaluator(ctx context.Context, l *lab, c *event.Connection) (rule.Decision, event.Decision) {
	ended, end := context.WithCancel(ctx)
	end()
	d, recorded := l.engine.Decide(ended, c)
	if d.Error == "" {
		l.Error("the evaluator did not fail")
	}
	return d, recorded
}

func noAnswer(ctx context.Context, _ *lab, _ *event.Connection) (rule.Decision, event.Decision) {
	<-ctx.Done()
	return rule.Decision{}, event.Decision{}
}

// What is full, slow or broken loses events and answers, never a verdict: what a
// rule denies is refused, what no rule concerns works, and only what nobody
// decided gets the default.
func TestUnable(t *testing.T) {
	for i, f := range failings() {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, closed=%t", f.name, closed), func(t *testing.T) {
				if testing.Short() && closed != (i%2 == 0) {
					t.Skip("short: one fail mode of each is enough")
				}
				f.run(newLabOf(t, Config{kernel: f.kernel}), closed)
			})
		}
	}
}

func (f *failing) run(l *lab, closed bool) {
	l.Helper()
	if f.evaluate != nil {
		l.evaluate = func(ctx context.Context, c *event.Connection) (rule.Decision, event.Decision) {
			return f.evaluate(ctx, l, c)
		}
	}
	l.serve(8080)
	l.serve(9090)
	p, q := l.start(), l.start()
	d := enforce.Desired{FailClosed: closed, Hold: enforce.HoldConfig{Deadline: 300 * time.Millisecond, AtDeadline: event.ActionAllow}}
	want := f.open
	if closed {
		d.Hold.AtDeadline, want = event.ActionDeny, f.closed
	}
	l.apply(d, nil, out("no-9090", event.ActionDeny, "/**", 9090), toName("bad", event.ActionDeny, p.path, "bad.test"))
	tap := l.tap()
	if f.meet != nil {
		f.meet(l, p, q)
	}
	use := q.reach(time.Second)
	p.flood(time.Second).refused()
	use.worked()
	q.expect(0, "udp %s:8080", bpftest.ServerV4)
	if errno, took := p.do("tcp %s:8080", bpftest.ServerV4); errno != want {
		l.Errorf("a connect that only user space can decide: %v after %s, want %v", errno, took, want)
	}
	tap.none(9090)
}
