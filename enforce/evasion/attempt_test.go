package evasion

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/bpf/features"
	"snitch/monitor/event"
)

// result is what comes of an attempt where the rules deny it.
type result uint8

const (
	stopped result = iota + 1 // nothing arrives
	seen                      // it arrives, and the record shows it
	limit                     // it arrives, by nature of things
	open                      // it arrives and should not: a fault that is not mended yet
)

func (r result) String() string {
	return [...]string{stopped: "stopped", seen: "seen", limit: "limit", open: "**open**"}[r]
}

// attempt is one way to send past a deny. Its functions run in programs of
// their own; only between runs in the test.
type attempt struct {
	name   string // of the test
	does   string // what is tried, for people
	result result
	by     string // what stops it, who sees it, or why nothing can
	short  bool   // of the quick tests
	needs  []*bpftest.Feature
	hooks  []features.Feature // without which it is not stopped
	// rules that forbid it; "": the attacker may not reach the forbidden
	// addresses. {attacker} and {good} are paths of programs, {dir} is a directory.
	rules     string
	undecided event.Action  // what nobody decides in time; zero: allow
	slow      time.Duration // that an answer takes where the rules deny
	deaf      bool          // user space does not hear of new programs where the rules deny
	// act is what the attacker does. It returns what failed; every part of it is
	// tried, whatever became of the parts before.
	act func(*place) error
	// help is what a program does that may reach everything, before.
	help func(*place) error
	// between runs where the attacker pauses; denied is false in the run that
	// nothing forbids.
	between func(r *run)
	// like is the record of an attempt that is seen.
	like func(*event.Connection) bool
	// always: it is refused whatever the rules are; it is free where nothing is
	// enforced.
	always bool
	// late: the rules come while the attacker pauses; what follows is denied.
	late bool
	// silent: the denial has no rule, or is told of another way.
	silent bool
	// bare: what arrives where nothing forbids it carries no payload.
	bare bool
	// resets: the peer may get packets without payload, which end a connection.
	resets bool
}

// attempts are all of them, in the order of the table.
func attempts() []attempt {
	return slices.Concat(callAttempts(), ringAttempts(), shareAttempts(), packetAttempts(), identityAttempts(), nameAttempts(), timeAttempts(), wayAttempts(), besideAttempts(), configAttempts(), interpretAttempts())
}

// free are rules that forbid nothing.
const free = "rules:"

const forbid = `
rules:
  - {id: forbidden, action: deny, process: {exe: "{attacker}"}, to: {host: [10.77.0.9, "fd77::9"]}}
`

// run is one of the two runs of an attempt.
type run struct {
	*testing.T
	lab     *lab
	attempt *attempt
	place   place
	rules   string
	denied  bool
}

// TestEvasion tries everything twice: where nothing forbids it, it arrives;
// where the rules do, its result is the one of the table.
func TestEvasion(t *testing.T) {
	l := newLab(t)
	for _, a := range attempts() {
		if testing.Short() && !a.short {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			bpftest.Need(t, a.needs...)
			for _, hook := range a.hooks {
				if !features.Detect(t.Context()).Has(hook) {
					t.Skipf("missing feature: %s", hook)
				}
			}
			defer func(outer testing.TB) { l.TB = outer }(l.TB)
			l.TB = t
			before := l.try(t, &a, false)
			if before.all == 0 || before.payload == 0 && !a.bare {
				t.Fatalf("%d packets arrived where nothing forbids them, %d with payload: the attempt proves nothing (%v)", before.all, before.payload, before.err)
			}
			got := l.try(t, &a, true)
			t.Logf("free: %d packets (%v); denied: %d packets, %d with payload (%v)", before.all, before.err, got.all, got.payload, got.err)
			a.judge(t, l, got)
		})
	}
}

// outcome is what a run came to.
type outcome struct {
	all, payload uint64
	err          error
}

func (l *lab) try(t *testing.T, a *attempt, denied bool) outcome {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	attacker, good := filepath.Join(dir, "attacker"), filepath.Join(dir, "good")
	rules := a.rules
	if rules == "" {
		rules = forbid
	}
	r := &run{T: t, lab: l, attempt: a, denied: denied, rules: strings.NewReplacer("{attacker}", attacker, "{good}", good, "{dir}", dir, "{held}", l.held, "{bash}", bashPath(),
		"{sha256}", l.sha256, "{good-sha256}", l.goodSHA256).Replace(rules)}
	undecided := event.ActionAllow
	if denied && a.undecided != 0 {
		undecided = a.undecided
	}
	closed := denied && a.result == stopped
	switch {
	case denied && !a.late:
		l.set(r.rules, undecided, closed)
	case !denied && a.always:
		l.unset()
	default:
		l.set(free, undecided, false)
	}
	r.place = place{V4: netip.AddrPortFrom(forbiddenV4, peerPort), V6: netip.AddrPortFrom(forbiddenV6, peerPort),
		OpenV4: netip.AddrPortFrom(bpftest.ServerV4, peerPort), OpenV6: netip.AddrPortFrom(bpftest.ServerV6, peerPort),
		SourceV4: bpftest.ClientV4, SourceV6: bpftest.ClientV6, Source: otherV4, Dir: dir, Good: good, Held: l.held, MAC: l.mac, Server: l.serverPath()}
	l.peer.calm()
	if a.help != nil {
		if err := os.Link(l.good, good); err != nil {
			t.Fatal(err)
		}
		helper := l.start(t, good)
		defer helper.stop()
		r.place.Pid = helper.cmd.Process.Pid
		if err := helper.order(order{Attempt: a.name, Part: "help", Place: r.place}, nil); err != nil {
			t.Fatalf("help: %v", err)
		}
	}
	p := l.start(t, attacker)
	defer p.stop()
	l.forget()
	if denied {
		l.hinder(a.slow, a.deaf)
		defer l.hinder(0, false)
	}
	err := p.order(order{Attempt: a.name, Part: "act", Place: r.place}, func() {
		if a.between != nil {
			a.between(r)
		}
		if a.late && denied {
			l.set(r.rules, undecided, closed)
			l.forget()
		}
	})
	return l.settle(outcome{err: err}, !denied || a.result != stopped, a.bare)
}

// settle waits for what must arrive, or for as long as that never takes.
func (l *lab) settle(o outcome, expected, bare bool) outcome {
	enough := 100 * time.Millisecond
	if expected {
		enough = patience
	}
	for deadline := time.Now().Add(enough); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if o.all, o.payload = l.peer.arrived(); expected && (o.payload > 0 || bare && o.all > 0) {
			break
		}
	}
	return o
}

func (a *attempt) judge(t *testing.T, l *lab, got outcome) {
	t.Helper()
	leaked := got.payload > 0 || got.all > 0 && !a.resets
	switch {
	case a.result == stopped && leaked:
		t.Errorf("%d packets reached the forbidden peer, %d with payload", got.all, got.payload)
	case a.result != stopped && got.payload == 0 && !(a.bare && got.all > 0):
		t.Errorf("nothing arrived (%v): it is stopped now, say so in the table", got.err)
	case a.result == stopped && got.err == nil:
		t.Error("the attacker was not told that it failed")
	}
	if a.result == stopped && !a.silent {
		eventually(t, "a record of the denial", func() bool { return len(l.deniedBy()) > 0 })
	}
	if a.result == seen {
		eventually(t, "a record of it", func() bool { return l.seen(a.like) })
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("%s is missing", what)
			return
		}
	}
}
