package enforce

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rego"
	"snitch/policy/rule"
	"snitch/policy/table"
)

var testSession = Session{Peer: netip.MustParseAddr("203.0.113.9"), Local: netip.MustParseAddrPort("192.0.2.7:22")}

// hostile denies everything in every way that rules have.
func hostile() *rule.Set {
	deny := func(id string, m rule.Match) rule.Rule {
		return rule.Rule{ID: id, Action: event.ActionDeny, Mode: event.ModeEnforce, Match: m}
	}
	return rule.NewSet([]rule.Rule{
		deny("all", rule.Match{}),
		deny("in", rule.Match{Direction: []event.Direction{event.In}}),
		deny("ssh", rule.Match{To: &rule.EndpointMatch{Port: []rule.PortRange{{First: 22, Last: 22}}}}),
		deny("sshd", rule.Match{Process: &rule.ProcessMatch{Exe: []rule.Pattern{{Text: "/usr/sbin/sshd", Kind: rule.PathPattern}}}}),
	}, []rule.Confine{{ID: "confined", Mode: event.ModeEnforce}}, nil, nil)
}

// decide asks OPA, the second opinion and the kernel's tables, which must agree.
func decide(t *testing.T, set *rule.Set, f *rule.Facts) rule.Decision {
	t.Helper()
	d, inKernel := weigh(t, set, f)
	if inKernel.Action() != d.Action {
		t.Fatalf("OPA says %s, the kernel's tables %v", d.Action, inKernel)
	}
	return d
}

// weigh asks OPA and the second opinion, which must agree, and the kernel's
// tables, which do not know names.
func weigh(t *testing.T, set *rule.Set, f *rule.Facts) (rule.Decision, table.Verdict) {
	t.Helper()
	opa, err := rego.New(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	votes, err := opa.Votes(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	d := set.Combine(votes, now)
	if second := set.Combine(table.Compile(set).Votes(f), now); second.Action != d.Action || second.Rule != d.Rule {
		t.Fatalf("OPA says %s by %s, the table %s by %s", d.Action, d.Rule, second.Action, second.Rule)
	}
	classes := table.NewKernel(set, now).Classes()
	class, err := classes.Of(f)
	if err != nil {
		t.Fatal(err)
	}
	return d, classes.Lookup(class, table.TupleOf(f), now).Verdict
}

func incoming(peer, local string, port uint16) *rule.Facts {
	to := netip.MustParseAddrPort(local)
	return &rule.Facts{Direction: event.In, Proto: "tcp", Process: rule.Subject{Exe: "/usr/sbin/sshd", Kind: event.ExecutableFile, HasUID: true},
		From: rule.Endpoint{Addr: netip.MustParseAddr(peer), Port: port, HasPort: true}, To: rule.Endpoint{Addr: to.Addr(), Port: to.Port(), HasPort: true}}
}

// TestProtectedPaths: with rules that deny everything, the session stays, and
// so does whoever comes again from its address; nobody else gets in.
func TestProtectedPaths(t *testing.T) {
	p := Protected{Sessions: []Session{testSession}, Helper: &Helper{Exe: "/usr/bin/snitch", UID: 990}}
	set, err := p.Merge(hostile())
	if err != nil {
		t.Fatal(err)
	}
	kernel := &rule.Facts{Direction: event.Out, Proto: "icmpv6", Process: rule.Subject{Kind: event.ExecutableKernel}, To: rule.Endpoint{Addr: netip.MustParseAddr("fe80::1")}}
	listen := func(at string) *rule.Facts {
		to := netip.MustParseAddrPort(at)
		return &rule.Facts{Direction: event.Listen, Proto: "tcp", Process: rule.Subject{Exe: "/usr/sbin/sshd"}, To: rule.Endpoint{Addr: to.Addr(), Port: to.Port(), HasPort: true}}
	}
	for name, c := range map[string]struct {
		facts *rule.Facts
		want  event.Action
		rule  string
	}{
		"the session":               {incoming("203.0.113.9", "192.0.2.7:22", 50000), event.ActionAllow, "snitch.protected.ssh-1"},
		"again from there":          {incoming("203.0.113.9", "192.0.2.7:22", 50001), event.ActionAllow, "snitch.protected.ssh-1"},
		"to another port":           {incoming("203.0.113.9", "192.0.2.7:80", 50000), event.ActionDeny, "all"},
		"to another address":        {incoming("203.0.113.9", "192.0.2.8:22", 50000), event.ActionDeny, "all"},
		"from elsewhere":            {incoming("203.0.113.10", "192.0.2.7:22", 50000), event.ActionDeny, "all"},
		"who is called":             {listen("192.0.2.7:22"), event.ActionAllow, "snitch.protected.ssh-1-listener"},
		"a new listener":            {listen("0.0.0.0:22"), event.ActionDeny, "all"},
		"at another port":           {listen("192.0.2.7:80"), event.ActionDeny, "all"},
		"a deny holds for the rest": {kernel, event.ActionDeny, "all"},
	} {
		t.Run(name, func(t *testing.T) {
			if d := decide(t, set, c.facts); d.Action != c.want || d.Rule != c.rule {
				t.Errorf("got %s by %s, want %s by %s", d.Action, d.Rule, c.want, c.rule)
			}
		})
	}
	out := incoming("203.0.113.9", "192.0.2.7:22", 50000)
	out.Direction, out.From, out.To = event.Out, out.To, out.From
	if d := decide(t, set, out); d.Action != event.ActionDeny {
		t.Error("a connection to the peer is another matter")
	}
}

// TestProtectedConfinement: under a confinement of everything and nothing else,
// snitch's helper may ask for names and the kernel may answer; a program that
// only looks like it may not.
func TestProtectedConfinement(t *testing.T) {
	p := Protected{Helper: &Helper{Exe: "/usr/bin/snitch", UID: 990}}
	set, err := p.Merge(rule.NewSet(nil, []rule.Confine{{ID: "all", Mode: event.ModeEnforce}}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(change func(*rule.Facts)) *rule.Facts {
		f := &rule.Facts{Direction: event.Out, Proto: "udp", Process: rule.Subject{Exe: "/usr/bin/snitch", Kind: event.ExecutableFile, UID: 990, HasUID: true},
			Ancestors: []rule.Subject{{Exe: "/usr/bin/snitch", Kind: event.ExecutableFile, HasUID: true}}, To: rule.Endpoint{Addr: netip.MustParseAddr("9.9.9.9"), Port: 53, HasPort: true}}
		change(f)
		return f
	}
	for name, c := range map[string]struct {
		change func(*rule.Facts)
		want   event.Action
	}{
		"the helper":       {func(*rule.Facts) {}, event.ActionAllow},
		"another user":     {func(f *rule.Facts) { f.Process.UID = 1000 }, event.ActionDeny},
		"another parent":   {func(f *rule.Facts) { f.Ancestors[0].Exe = "/bin/bash" }, event.ActionDeny},
		"another port":     {func(f *rule.Facts) { f.To.Port = 443 }, event.ActionDeny},
		"another program":  {func(f *rule.Facts) { f.Process.Exe = "/tmp/snitch" }, event.ActionDeny},
		"in a container":   {func(f *rule.Facts) { f.Process.Exe = "mnt:42:/usr/bin/snitch" }, event.ActionDeny},
		"the kernel":       {func(f *rule.Facts) { f.Process = rule.Subject{Kind: event.ExecutableKernel}; f.Ancestors = nil }, event.ActionAllow},
		"an unknown owner": {func(f *rule.Facts) { f.Process = rule.Subject{Kind: event.ExecutableUnknown}; f.Ancestors = nil }, event.ActionDeny},
	} {
		t.Run(name, func(t *testing.T) {
			if d := decide(t, set, ask(c.change)); d.Action != c.want {
				t.Errorf("got %s by %s", d.Action, d.Rule)
			}
		})
	}
}

// TestProtectedUser: a helper that is named by its user alone is everybody who
// runs as it, and nobody else.
func TestProtectedUser(t *testing.T) {
	p := Protected{Helper: &Helper{UID: 990}}
	set, err := p.Merge(rule.NewSet(nil, []rule.Confine{{ID: "all", Mode: event.ModeEnforce}}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]event.Action{990: event.ActionAllow, 1000: event.ActionDeny} {
		f := &rule.Facts{Direction: event.Out, Proto: "udp", Process: rule.Subject{Exe: "/bin/any", Kind: event.ExecutableFile, UID: uid, HasUID: true},
			To: rule.Endpoint{Addr: netip.MustParseAddr("9.9.9.9"), Port: 53, HasPort: true}}
		if d := decide(t, set, f); d.Action != want {
			t.Errorf("user %d: got %s by %s", uid, d.Action, d.Rule)
		}
	}
}

func TestMergeKeepsTheRest(t *testing.T) {
	base := hostile()
	revision := base.Revision
	p := Protected{Sessions: []Session{testSession}}
	set, err := p.Merge(base)
	if err != nil {
		t.Fatal(err)
	}
	if base.Revision != revision || len(base.Rules) != 4 || len(base.Rules[0].Except) != 0 {
		t.Error("the set that was given changed")
	}
	if !strings.HasPrefix(set.Revision, revision+"+") {
		t.Errorf("revision %s does not tell that something was added", set.Revision)
	}
	other := Protected{}
	if without, err := other.Merge(base); err != nil || without.Revision == set.Revision {
		t.Errorf("%v; other rules have the same revision", err)
	}
	for _, r := range set.Rules {
		if set.Rule(r.ID) == nil {
			t.Errorf("%s is not found: not sorted", r.ID)
		}
	}
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseProtected(data)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := back.Merge(base); err != nil || again.Revision != set.Revision {
		t.Errorf("%v; read back they are others", err)
	}
	taken := rule.NewSet([]rule.Rule{{ID: "snitch.protected.kernel", Action: event.ActionAllow, Mode: event.ModeEnforce}}, nil, nil, nil)
	if _, err := p.Merge(taken); err == nil {
		t.Error("somebody else's rule has an id of snitch's own")
	}
}

func TestFailModes(t *testing.T) {
	now := time.Now()
	confined := func(c rule.Confine) *rule.Set { return rule.NewSet(nil, []rule.Confine{c}, nil, nil) }
	for name, c := range map[string]struct {
		fail Fail
		set  *rule.Set
		want bool
	}{
		"auto, nothing confined":   {FailAuto, allowSome(), false},
		"auto, everything":         {FailAuto, confineAll(), true},
		"auto, one program":        {FailAuto, confined(rule.Confine{ID: "a", Mode: event.ModeEnforce, Process: &rule.ProcessMatch{User: []string{"ci"}}}), false},
		"auto, watched only":       {FailAuto, confined(rule.Confine{ID: "a", Mode: event.ModeAudit}), false},
		"auto, expired":            {FailAuto, confined(rule.Confine{ID: "a", Mode: event.ModeEnforce, Expires: now.Add(-time.Second)}), false},
		"auto, not expired":        {FailAuto, confined(rule.Confine{ID: "a", Mode: event.ModeEnforce, Expires: now.Add(time.Hour)}), true},
		"open, everything":         {FailOpen, confineAll(), false},
		"closed, nothing confined": {FailClosed, allowSome(), true},
	} {
		if got := c.fail.closed(c.set, now); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
	if LocksOut(confineAll(), now) || !LocksOut(confined(rule.Confine{ID: "a", Mode: event.ModeEnforce}), now) {
		t.Error("a lock-out is everything confined and nothing allowed")
	}
	p := Protected{}
	if merged, err := p.Merge(confined(rule.Confine{ID: "a", Mode: event.ModeEnforce})); err != nil || !LocksOut(merged, now) {
		t.Errorf("%v: what is protected is not what the host lives on", err)
	}
	for _, f := range []Fail{FailAuto, FailOpen, FailClosed} {
		if back, err := ParseFail(f.String()); err != nil || back != f {
			t.Errorf("%s: %v", f, err)
		}
	}
	if _, err := ParseFail("invalid"); err == nil {
		t.Error("invalid is none")
	}
}
