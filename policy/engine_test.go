package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

// set makes a Set of rules; ids sorted by the caller.
func set(rules ...rule.Rule) *rule.Set {
	for i := range rules {
		if rules[i].Mode == event.ModeInvalid {
			rules[i].Mode = event.ModeEnforce
		}
		rules[i].Pos = rule.Position{File: "a.yaml", Line: i + 1, Col: 3}
	}
	return &rule.Set{Revision: "r1", Rules: rules}
}

func exe(path string) *rule.ProcessMatch {
	return &rule.ProcessMatch{Exe: []rule.Pattern{{Text: path, Kind: rule.PathPattern}}}
}

func port(n uint16) *rule.EndpointMatch {
	return &rule.EndpointMatch{Port: []rule.PortRange{{First: n, Last: n}}}
}

func prepared(t testing.TB, s *rule.Set) *Policy {
	t.Helper()
	p, err := Prepare(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func program(path string) *event.Process {
	return &event.Process{ID: event.ProcessID{PID: 7, Start: 1}, Name: "x", Args: []string{path},
		Executable: event.Executable{Path: path, Kind: event.ExecutableFile, SHA256: event.Digest{1}, Reason: event.HashKnown},
		Parent: &event.Process{ID: event.ProcessID{PID: 1}, Executable: event.Executable{Path: "/sbin/init", Kind: event.ExecutableFile,
			SHA256: event.Digest{2}, Reason: event.HashKnown}}}
}

func outbound(id uint64, p *event.Process, peer string) event.Connection {
	return event.Connection{ID: id, Process: p, Direction: event.Out, Family: event.AFInet, Proto: event.ProtoTCP,
		Local: netip.MustParseAddrPort("192.0.2.9:40000"), Remote: netip.MustParseAddrPort(peer), Opened: time.Unix(int64(id), 0)}
}

// counting is a voter that fails or is slow, and counts.
type counting struct {
	voter
	mu    sync.Mutex
	calls int
	err   error
	slow  time.Duration
}

func (c *counting) Votes(ctx context.Context, f *rule.Facts) (rule.Votes, error) {
	c.mu.Lock()
	c.calls++
	err, slow := c.err, c.slow
	c.mu.Unlock()
	time.Sleep(slow)
	if err != nil {
		return rule.Votes{}, err
	}
	return c.voter.Votes(ctx, f)
}

func TestDecideAndRecord(t *testing.T) {
	p := prepared(t, set(
		rule.Rule{ID: "allow-curl", Action: event.ActionAllow, Match: rule.Match{Process: exe("/usr/bin/curl")}},
		rule.Rule{ID: "deny-25", Action: event.ActionDeny, Reason: "no mail", Match: rule.Match{To: port(25)}},
		rule.Rule{ID: "watch-22", Action: event.ActionDeny, Mode: event.ModeAudit, Match: rule.Match{To: port(22)}},
	))
	e := New(Config{Mode: event.ModeAudit}, Deps{})
	if out := e.Batch(t.Context(), []event.Connection{outbound(1, program("/a"), "192.0.2.1:1")}); len(out.Alerts) != 0 {
		t.Fatal("alerts without a policy")
	}
	e.Use(p)
	curl := program("/usr/bin/curl")
	conns := []event.Connection{
		outbound(2, curl, "192.0.2.1:443"), outbound(3, curl, "192.0.2.1:25"), outbound(4, program("/bin/other"), "192.0.2.1:443"),
		outbound(5, curl, "192.0.2.1:22"),
	}
	out := e.Batch(t.Context(), conns)
	type got struct {
		action, would event.Action
		rule, pos     string
		capped        bool
	}
	for i, want := range []got{
		{event.ActionAllow, event.ActionAllow, "allow-curl", "a.yaml:1", false},
		{event.ActionAlert, event.ActionDeny, "deny-25", "a.yaml:2", true},
		{event.ActionAlert, event.ActionAlert, "", "", false},
		{event.ActionAllow, event.ActionAllow, "allow-curl", "a.yaml:1", false},
	} {
		d := conns[i].Decision
		if g := (got{d.Action, d.Would, d.Rule, d.Pos, d.Capped}); g != want {
			t.Errorf("connection %d: got %+v, want %+v", conns[i].ID, g, want)
		}
		if d.Revision != "r1" || d.Input == 0 || d.At.IsZero() || d.Mode != event.ModeAudit {
			t.Errorf("connection %d: record %+v", conns[i].ID, d)
		}
	}
	if !slices.Equal(conns[3].Decision.Matches, []string{"allow-curl", "watch-22"}) {
		t.Errorf("matches %q", conns[3].Decision.Matches)
	}
	rules := []string{}
	for _, a := range out.Alerts {
		rules = append(rules, a.Rule)
	}
	if !slices.Equal(rules, []string{"deny-25", ""}) {
		t.Errorf("alerts of %q", rules)
	}
	for i, c := range out.Causes {
		if c.Alert != out.Alerts[i].Key() || c.Connection.ID != conns[i+1].ID || !c.At.Equal(conns[i+1].Decision.At) {
			t.Errorf("the cause of alert %d: %+v", i, c)
		}
	}
	if len(out.Causes) != len(out.Alerts) {
		t.Errorf("%d causes of %d alerts", len(out.Causes), len(out.Alerts))
	}
	counts := map[string]event.RuleCount{}
	for _, c := range out.Counts {
		c.Last = time.Time{}
		counts[c.Rule] = c
	}
	for _, want := range []event.RuleCount{{Rule: "allow-curl", Hits: 3, Wins: 2}, {Rule: "deny-25", Hits: 1, Wins: 1, WouldDeny: 1}, {Rule: "watch-22", Hits: 1, WouldDeny: 1}} {
		if counts[want.Rule] != want {
			t.Errorf("counts of %s: got %+v, want %+v", want.Rule, counts[want.Rule], want)
		}
	}
	// Later snapshots of the same rows are neither counted nor told again.
	if out := e.Batch(t.Context(), conns); len(out.Alerts)+len(out.Causes)+len(out.Counts) != 0 {
		t.Errorf("the same rows were told twice: %+v", out)
	}
}

// TestCacheReadsOnlyWhatRulesRead checks who shares a decision.
func TestCacheReadsOnlyWhatRulesRead(t *testing.T) {
	p := prepared(t, set(rule.Rule{ID: "a", Action: event.ActionAllow, Match: rule.Match{Process: exe("/bin/a"), To: port(443)}}))
	count := &counting{voter: p.evaluator}
	p.evaluator = count
	e := New(Config{Mode: event.ModeAudit}, Deps{})
	e.Use(p)
	for i, c := range []struct {
		conn event.Connection
		more int
	}{
		{outbound(1, program("/bin/a"), "192.0.2.1:443"), 1},
		{outbound(2, program("/bin/a"), "192.0.2.77:443"), 0}, // no rule reads addresses
		{outbound(3, program("/bin/a"), "192.0.2.1:80"), 1},
		{outbound(4, program("/bin/b"), "192.0.2.1:443"), 1},
		{outbound(5, program("/bin/a"), "[2001:db8::1]:443"), 0},
	} {
		before := count.calls
		d, _ := e.Decide(t.Context(), &c.conn)
		if count.calls-before != c.more {
			t.Errorf("%d: %d evaluations, want %d", i, count.calls-before, c.more)
		}
		again, _ := e.Decide(t.Context(), &c.conn)
		if again.Action != d.Action || count.calls-before != c.more {
			t.Errorf("%d: the second decision was %v after %v, with %d evaluations", i, again.Action, d.Action, count.calls-before)
		}
	}
}

// TestExpiry checks that a cached decision ends with the rule that made it.
func TestExpiry(t *testing.T) {
	now := time.Unix(1000, 0)
	p := prepared(t, set(rule.Rule{ID: "a", Action: event.ActionAllow, Expires: now.Add(time.Minute)}))
	e := New(Config{Mode: event.ModeAudit}, Deps{Now: func() time.Time { return now }})
	e.Use(p)
	c := outbound(1, program("/bin/a"), "192.0.2.1:1")
	for _, step := range []struct {
		at   time.Time
		want event.Action
	}{{now, event.ActionAllow}, {now.Add(time.Minute - 1), event.ActionAllow}, {now.Add(time.Minute), event.ActionAlert}, {now.Add(time.Hour), event.ActionAlert}} {
		now = step.at
		if d, _ := e.Decide(t.Context(), &c); d.Action != step.want {
			t.Errorf("at %v: %v, want %v", step.at, d.Action, step.want)
		}
	}
}

// TestClock checks that setting the wall clock back prolongs nothing.
func TestClock(t *testing.T) {
	c := NewClock()
	if d := time.Until(c.Now()); d < -time.Second || d > time.Second {
		t.Fatalf("the clock is off by %v", d)
	}
	c.wall = c.wall.Add(time.Hour) // as if the wall clock had been an hour ahead, and was set back since
	if d := time.Until(c.Now()); d < time.Hour-time.Second {
		t.Errorf("after setting the wall clock back an hour, %v of it are left", d)
	}
	c.wall = c.wall.Add(-2 * time.Hour)
	if d := time.Until(c.Now()); d < -time.Second || d > time.Second {
		t.Errorf("a jump forward does not count: off by %v", d)
	}
}

// TestErrorIsNeverAllow checks the fall-back of each sort of rule set.
func TestErrorIsNeverAllow(t *testing.T) {
	allow := rule.Rule{ID: "a", Action: event.ActionAllow}
	for name, c := range map[string]struct {
		set  *rule.Set
		want event.Action
	}{
		"allow only":              {set(allow), event.ActionAlert},
		"a deny that may apply":   {set(allow, rule.Rule{ID: "d", Action: event.ActionDeny, Match: rule.Match{Process: exe("/bin/a"), To: port(25)}}), event.ActionDeny},
		"a deny of other program": {set(allow, rule.Rule{ID: "d", Action: event.ActionDeny, Match: rule.Match{Process: exe("/bin/b")}}), event.ActionAlert},
		"a deny of mode audit":    {set(allow, rule.Rule{ID: "d", Action: event.ActionDeny, Mode: event.ModeAudit}), event.ActionAlert},
		"confined": {&rule.Set{Rules: []rule.Rule{allow}, Confine: []rule.Confine{{ID: "c", Mode: event.ModeEnforce, Process: exe("/bin/*")}}},
			event.ActionDeny},
	} {
		t.Run(name, func(t *testing.T) {
			p := prepared(t, c.set)
			count := &counting{voter: p.evaluator, err: errors.New("boom")}
			p.evaluator = count
			e := New(Config{Mode: event.ModeEnforce}, Deps{})
			e.Use(p)
			conns := []event.Connection{outbound(1, program("/bin/a"), "192.0.2.1:1")}
			out := e.Batch(t.Context(), conns)
			d := conns[0].Decision
			if d.Would != c.want || d.Error != evaluatorError {
				t.Errorf("got %v with error %q, want %v", d.Would, d.Error, c.want)
			}
			if !slices.ContainsFunc(out.Alerts, func(a event.Alert) bool { return a.Kind == event.AlertError && a.Reason != "" }) {
				t.Errorf("nobody was told: %+v", out.Alerts)
			}
			// It is asked again, and is right as soon as the evaluator answers.
			count.err = nil
			if e.Batch(t.Context(), conns); conns[0].Decision.Error != "" {
				t.Errorf("the error was cached: %+v", conns[0].Decision)
			}
		})
	}
}

// TestRowsNeverWait gives OPA more work than it may take: rows stay undecided,
// are decided by later batches, and none is lost.
func TestRowsNeverWait(t *testing.T) {
	p := prepared(t, set(rule.Rule{ID: "a", Action: event.ActionAllow, Match: rule.Match{Process: exe("/bin/*")}}))
	p.evaluator = &counting{voter: p.evaluator, slow: 10 * time.Millisecond}
	e := New(Config{Mode: event.ModeAudit}, Deps{})
	e.Use(p)
	const rows = 60
	var conns []event.Connection
	for i := range rows {
		c := outbound(uint64(i+1), program(fmt.Sprint("/bin/", i)), "192.0.2.1:1")
		c.Closed = i%2 == 0
		conns = append(conns, c)
	}
	began := time.Now()
	e.Batch(t.Context(), conns)
	if took := time.Since(began); took > 10*allowed {
		t.Fatalf("the batch waited %v", took)
	}
	decided := map[uint64]event.Action{}
	note := func(list []event.Connection) {
		for i := range list {
			if a := list[i].Decision.Would; a != event.ActionUndecided {
				decided[list[i].ID] = a
			}
		}
	}
	note(conns)
	if len(decided) == 0 || len(decided) == rows {
		t.Fatalf("%d of %d rows were decided at once", len(decided), rows)
	}
	for end := time.Now().Add(30 * time.Second); len(decided) < rows && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		note(e.Batch(t.Context(), nil).Late)
	}
	for i := range conns {
		if decided[conns[i].ID] != event.ActionAllow {
			t.Errorf("row %d: %v", conns[i].ID, decided[conns[i].ID])
		}
	}
	if n := len(e.ledger.late.rows); n != 0 || e.Stats().Undecided != 0 {
		t.Errorf("%d rows still wait, %d were given up", n, e.Stats().Undecided)
	}
	if n := len(e.ledger.rows); n != rows/2 {
		t.Errorf("%d rows are remembered, %d are open", n, rows/2)
	}
}

// TestFactsArrive checks a row whose digest comes later: no alert before, the
// first decision is kept, the alert follows.
func TestFactsArrive(t *testing.T) {
	p := prepared(t, set(rule.Rule{ID: "known", Action: event.ActionAllow, Match: rule.Match{Process: &rule.ProcessMatch{SHA256: []event.Digest{{1}}}}}))
	now := time.Unix(2, 0)
	e := New(Config{Mode: event.ModeAudit}, Deps{Now: func() time.Time { return now }})
	e.Use(p)
	early := program("/bin/a")
	early.Executable.SHA256, early.Executable.Reason = event.Digest{}, event.HashPending
	conns := []event.Connection{outbound(1, early, "192.0.2.1:1")}
	out := e.Batch(t.Context(), conns)
	if d := conns[0].Decision; d.Would != event.ActionAlert || !d.Provisional || len(out.Alerts) != 0 {
		t.Fatalf("before the digest: %+v, alerts %v", d, out.Alerts)
	}
	conns = []event.Connection{outbound(1, program("/bin/a"), "192.0.2.1:1")}
	out = e.Batch(t.Context(), conns)
	d := conns[0].Decision
	if d.Would != event.ActionAllow || d.Provisional || len(out.Alerts) != 0 || d.Previous == nil || d.Previous.Would != event.ActionAlert {
		t.Fatalf("after the digest: %+v, alerts %v", d, out.Alerts)
	}
	// A fact that does not come is not waited for without end.
	conns = []event.Connection{outbound(2, early, "192.0.2.1:1")}
	if out := e.Batch(t.Context(), conns); len(out.Alerts) != 0 {
		t.Fatalf("told at once: %v", out.Alerts)
	}
	now = now.Add(patience + time.Second)
	if out := e.Batch(t.Context(), conns); len(out.Alerts) != 1 || conns[0].Decision.Provisional {
		t.Fatalf("after %v: %+v, alerts %v", patience, conns[0].Decision, out.Alerts)
	}
}

// TestReload checks that rows which are open follow a new policy.
func TestReload(t *testing.T) {
	e := New(Config{Mode: event.ModeAudit}, Deps{})
	e.Use(prepared(t, set(rule.Rule{ID: "a", Action: event.ActionAllow})))
	conns := []event.Connection{outbound(1, program("/bin/a"), "192.0.2.1:1")}
	e.Batch(t.Context(), conns)
	next := set(rule.Rule{ID: "b", Action: event.ActionDeny})
	next.Revision = "r2"
	e.Use(prepared(t, next))
	out := e.Batch(t.Context(), conns)
	if d := conns[0].Decision; d.Rule != "b" || d.Revision != "r2" || len(out.Alerts) != 1 || len(out.Counts) != 1 {
		t.Errorf("after the reload: %+v, outcome %+v", d, out)
	}
}

func TestTrustedNamesAndViews(t *testing.T) {
	host := &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostName, Name: "ok.example"}}}
	p := prepared(t, set(
		rule.Rule{ID: "a", Action: event.ActionAllow, Match: rule.Match{To: host}},
		rule.Rule{ID: "d", Action: event.ActionDeny, Match: rule.Match{Process: exe("/bin/evil")}},
	))
	e := New(Config{Mode: event.ModeEnforce}, Deps{})
	e.Use(p)
	for name, c := range map[string]struct {
		names []event.Name
		view  string
		kind  event.ExecutableKind
		path  string
		want  event.Action
	}{
		"trusted":          {names: []event.Name{{Domain: "ok.example", Source: event.NameDNS, Trusted: true}}, path: "/bin/a", want: event.ActionAllow},
		"claimed":          {names: []event.Name{{Domain: "ok.example", Source: event.NameSNI}}, path: "/bin/a", want: event.ActionAlert},
		"second of two":    {names: []event.Name{{Domain: "x.example"}, {Domain: "ok.example", Trusted: true}}, path: "/bin/a", want: event.ActionAllow},
		"host path":        {path: "/bin/evil", want: event.ActionDeny},
		"container's path": {path: "/bin/evil", view: "container:abc", want: event.ActionAlert},
		"deleted":          {path: "/bin/evil", kind: event.ExecutableDeleted, want: event.ActionAlert},
	} {
		t.Run(name, func(t *testing.T) {
			proc := program(c.path)
			proc.Executable.View = c.view
			if c.kind != 0 {
				proc.Executable.Kind = c.kind
			}
			conn := outbound(1, proc, "192.0.2.1:443")
			conn.Names = c.names
			if d, _ := e.Decide(t.Context(), &conn); d.Action != c.want {
				t.Errorf("got %v, want %v", d.Action, c.want)
			}
		})
	}
}

func TestSwitchedOff(t *testing.T) {
	all := set(rule.Rule{ID: "a", Action: event.ActionAlert}, rule.Rule{ID: "b", Action: event.ActionDeny}, rule.Rule{ID: "c", Action: event.ActionAlert})
	ids := func(s *rule.Set) (out []string) {
		for i := range s.Rules {
			out = append(out, s.Rules[i].ID)
		}
		return out
	}
	for _, same := range [][]string{nil, {"b"}, {"unknown"}} { // a deny is never switched off
		if got := WithoutAlerts(all, same); got.Revision != "r1" || !slices.Equal(ids(got), []string{"a", "b", "c"}) {
			t.Errorf("without %q: %q of revision %s", same, ids(got), got.Revision)
		}
	}
	one, both, again := WithoutAlerts(all, []string{"a"}), WithoutAlerts(all, []string{"c", "a"}), WithoutAlerts(all, []string{"a", "b", "c"})
	if !slices.Equal(ids(one), []string{"b", "c"}) || !slices.Equal(ids(both), []string{"b"}) || !slices.Equal(ids(all), []string{"a", "b", "c"}) {
		t.Errorf("left: %q, %q; of %q", ids(one), ids(both), ids(all))
	}
	if one.Revision == both.Revision || one.Revision == all.Revision || both.Revision != again.Revision {
		t.Errorf("revisions %q, %q, %q of what is left of %q", one.Revision, both.Revision, again.Revision, all.Revision)
	}
}

// TestUnspecified: a listener on all addresses is open to everybody, and a
// connection to the unspecified address goes to loopback.
func TestUnspecified(t *testing.T) {
	for _, any := range []string{"0.0.0.0:80", "[::]:80"} {
		c := outbound(1, program("/bin/a"), any)
		if f := Facts(&c); rule.ScopeOf(f.To.Addr) != rule.ScopeLoopback {
			t.Errorf("a connection to %s goes to %v", any, f.To.Addr)
		}
		c = event.Connection{Process: program("/bin/a"), Direction: event.Listen, Family: event.AFInet, Proto: event.ProtoTCP, Local: netip.MustParseAddrPort(any)}
		if f := Facts(&c); rule.ScopeOf(f.To.Addr) != rule.ScopeInternet {
			t.Errorf("a listener on %s has scope %v", any, rule.ScopeOf(f.To.Addr))
		}
	}
}

// TestCachedDoesNotAllocate holds that a decision which is known costs no
// memory, whatever the row says.
func TestCachedDoesNotAllocate(t *testing.T) {
	e := New(Config{Mode: event.ModeAudit}, Deps{})
	e.Use(prepared(t, ruletest.Mixed(100)))
	for _, f := range ruletest.MixedFacts(100, 20) {
		c := connection(&f)
		c.Name.SNI = "claimed.example"
		e.Decide(t.Context(), &c)
		if n := testing.AllocsPerRun(10, func() { e.Decide(t.Context(), &c) }); n != 0 {
			t.Errorf("%v allocations for %+v", n, f)
		}
	}
}

// TestLateIsBounded: a closed row that waited while very many others closed is
// given up, not handed to a record that no longer knows it.
func TestLateIsBounded(t *testing.T) {
	l := newLate()
	old, open := event.Connection{ID: 1, Closed: true}, event.Connection{ID: 2}
	if !l.put(&old) || !l.put(&open) {
		t.Fatal("no room")
	}
	l.closed += horizon + 1
	if c, lost := l.take(); c == nil || c.ID != 1 || !lost {
		t.Errorf("got %+v, lost %v", c, lost)
	}
	if c, lost := l.take(); c == nil || c.ID != 2 || lost {
		t.Errorf("got %+v, lost %v", c, lost)
	}
	if c, _ := l.take(); c != nil || len(l.rows) != 0 || l.order != nil {
		t.Errorf("left: %+v, %+v", c, l)
	}
	for i := range uint64(maxLate) {
		if !l.put(&event.Connection{ID: i}) {
			t.Fatalf("no room after %d", i)
		}
	}
	if l.put(&event.Connection{ID: maxLate}) || !l.put(&event.Connection{ID: 7}) {
		t.Error("the bound does not hold, or there is no room for a newer snapshot")
	}
}
