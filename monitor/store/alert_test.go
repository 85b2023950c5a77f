package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

func alertOf(c *event.Connection, rule string, at time.Time) event.Alert {
	return event.NewAlert(event.AlertRule, rule, event.ActionAlert, "because", at, c)
}

// alerts reads them back.
func alerts(t *testing.T, s *Store, q query.AlertQuery) []event.Alert {
	t.Helper()
	db, err := query.Open(t.Context(), s.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	out, err := db.Alerts(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAlerts goes through the life of one: counted, acknowledged, resolved,
// new again.
func TestAlerts(t *testing.T) {
	var told []event.Alert
	s := open(t, t.TempDir(), func(c *Config) { c.Alerted = func(a []event.Alert) { told = append(told, a...) } })
	c := connection(1, base, 1, 1)
	raise := func(minute int, rules ...string) {
		t.Helper()
		b := Batch{Time: base}
		for _, r := range rules {
			b.Alerts = append(b.Alerts, alertOf(&c, r, base.Add(time.Duration(minute)*time.Minute)))
		}
		s.Append(b)
		flush(t, s)
	}
	state := func(rule string) (event.Alert, int) {
		t.Helper()
		all := alerts(t, s, query.AlertQuery{})
		for i := range all {
			if all[i].Rule == rule {
				return all[i], len(all)
			}
		}
		t.Fatalf("no alert of %s", rule)
		return event.Alert{}, 0
	}
	raise(1, "a", "a", "b")
	raise(2, "a")
	a, n := state("a")
	want := alertOf(&c, "a", base.Add(time.Minute))
	want.ID, want.Last, want.Count = a.ID, base.Add(2*time.Minute), 3
	if n != 2 || a != want || a.Peer != "192.0.2.1:443" || a.ParentExe != "/usr/bin/bash" {
		t.Errorf("%d alerts, of a %+v, want %+v", n, a, want)
	}
	if len(told) != 2 || told[0].ID != a.ID || told[0].Count != 2 {
		t.Errorf("told %+v, want a (twice) and b", told)
	}
	if err := s.SetAlert(t.Context(), a.ID, event.AlertSeen); err != nil {
		t.Fatal(err)
	}
	raise(3, "a")
	if a, _ = state("a"); a.State != event.AlertSeen || !a.Muted || a.Count != 4 || len(told) != 2 {
		t.Errorf("after it was acknowledged: %+v, told %d times", a, len(told))
	}
	if err := s.SetAlert(t.Context(), a.ID, event.AlertResolved); err != nil {
		t.Fatal(err)
	}
	raise(4, "a")
	if a, n = state("a"); n != 2 || a.State != event.AlertNew || a.Muted || a.Count != 5 || len(told) != 3 || told[2].ID != a.ID {
		t.Errorf("after it was resolved and happened again: %+v, told %d times", a, len(told))
	}
	if got := alerts(t, s, query.AlertQuery{Since: base.Add(3 * time.Minute)}); len(got) != 1 {
		t.Errorf("%d alerts since minute 3, want 1", len(got))
	}
	if got := alerts(t, s, query.AlertQuery{State: event.AlertSeen}); len(got) != 0 {
		t.Errorf("%d acknowledged alerts, want none", len(got))
	}
	if err := s.SetAlert(t.Context(), 99, event.AlertSeen); !errors.Is(err, ErrNoAlert) {
		t.Errorf("an alert that is not there: %v", err)
	}
	if err := s.SetAlert(t.Context(), a.ID, 7); err == nil {
		t.Error("a state that is none was set")
	}
}

// TestAlertKeys: another digest or another parent is another alert, another
// destination is not.
func TestAlertKeys(t *testing.T) {
	s := open(t, t.TempDir())
	b := Batch{Time: base}
	for i, change := range []func(*event.Process){
		func(*event.Process) {},
		func(p *event.Process) { p.Args = []string{"other"} },
		func(p *event.Process) { p.Executable.SHA256 = event.Digest{7} },
		func(p *event.Process) {
			parent := *p.Parent
			parent.Executable.SHA256 = event.Digest{8}
			p.Parent = &parent
		},
		func(p *event.Process) { p.Executable.View = "container:ab" },
	} {
		p := *process(5)
		change(&p)
		c := connection(uint64(i+1), base, 1, 1)
		c.Process = &p
		b.Alerts = append(b.Alerts, alertOf(&c, "r", base))
	}
	s.Append(b)
	flush(t, s)
	if got := alerts(t, s, query.AlertQuery{}); len(got) != 4 {
		t.Errorf("%d alerts, want 4: %+v", len(got), got)
	}
}

// TestAlertFlood: what does not fit into memory at once is counted, and the
// rest is there.
func TestAlertFlood(t *testing.T) {
	s := open(t, t.TempDir())
	b := Batch{Time: base}
	for i := range alertsKept + 5 {
		b.Alerts = append(b.Alerts, event.Alert{Kind: event.AlertError, Rule: fmt.Sprint(i), Last: base, Count: 1})
	}
	s.Append(b)
	flush(t, s)
	if n := number(t, s, "SELECT count(*) FROM alert"); n != alertsKept {
		t.Errorf("%d alerts, want %d", n, alertsKept)
	}
	if n := number(t, s, "SELECT sum(count) FROM loss WHERE cause = 12"); n != 5 {
		t.Errorf("%d are counted as lost, want 5", n)
	}
}

// TestSetAlertsWithoutDaemon: all or none, and not beside a daemon.
func TestSetAlertsWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	c := connection(1, base, 1, 1)
	s.Append(Batch{Time: base, Alerts: []event.Alert{alertOf(&c, "a", base), alertOf(&c, "b", base)}})
	flush(t, s)
	if err := SetAlerts(t.Context(), dir, []int64{1}, event.AlertSeen); !errors.Is(err, ErrLocked) {
		t.Errorf("beside a daemon: %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := SetAlerts(t.Context(), dir, []int64{1, 99}, event.AlertSeen); !errors.Is(err, ErrNoAlert) {
		t.Errorf("one of them is not there: %v", err)
	}
	if got := alerts(t, s, query.AlertQuery{State: event.AlertSeen}); len(got) != 0 {
		t.Errorf("half was set: %+v", got)
	}
	if err := SetAlerts(t.Context(), dir, []int64{1, 2}, event.AlertResolved); err != nil {
		t.Fatal(err)
	}
	if got := alerts(t, s, query.AlertQuery{State: event.AlertResolved}); len(got) != 2 {
		t.Errorf("%d are resolved, want 2", len(got))
	}
}

func TestRuleCounts(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 3 {
		s.Append(Batch{Time: base, Rules: []event.RuleCount{{Rule: "a", Hits: 2, Wins: 1, Last: base.Add(time.Duration(i))}, {Rule: "b", Hits: 1, WouldDeny: 1}}})
		s.Append(Batch{Time: base, Rules: []event.RuleCount{{Rule: "a", Denied: 1, WouldAlert: 5}}})
		if i > 0 {
			flush(t, s)
		}
	}
	db, err := query.Open(t.Context(), s.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	got, err := db.RuleCounts(t.Context())
	want := []event.RuleCount{{Rule: "a", Hits: 6, Wins: 3, WouldAlert: 15, Denied: 3, Last: base.Add(2)}, {Rule: "b", Hits: 3, WouldDeny: 3}}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counts = %+v, want %+v (%v)", got, want, err)
	}
}
