package store

import (
	"fmt"
	"testing"
	"time"

	"snitch/monitor/event"
)

// TestUndecidedRowIsDecidedLater: the row gets the decision, the first one
// stays beside it, and the sums of the minute move under it.
func TestUndecidedRowIsDecidedLater(t *testing.T) {
	type want struct {
		minute      int
		action      event.Action
		sent, count int64
	}
	for name, c := range map[string]struct {
		between func(*Store)
		want    []want
	}{
		// one batch merges the snapshots of a minute: the row was undecided in the first one only
		"in one batch": {func(*Store) {}, []want{{0, event.ActionUndecided, 0, 0}, {0, event.ActionAllow, 10, 1}, {1, event.ActionAllow, 50, 0}, {2, event.ActionAllow, 40, 0}}},
		"in several": {func(s *Store) { flush(t, s) },
			[]want{{0, event.ActionUndecided, 10, 1}, {1, event.ActionUndecided, 0, 0}, {1, event.ActionAllow, 50, 0}, {2, event.ActionAllow, 40, 0}}},
	} {
		between := c.between
		s := open(t, t.TempDir())
		put := func(minute int, sent uint64, d event.Decision) {
			c := connection(1, base, sent, 0)
			c.Decision = d
			s.Append(batch(base.Add(time.Duration(minute)*time.Minute), c))
			between(s)
		}
		before := event.Decision{Action: event.ActionAlert, Would: event.ActionAlert, Mode: event.ModeAudit, Provisional: true, Revision: "r1"}
		put(0, 10, event.Decision{Action: event.ActionUndecided, Would: event.ActionUndecided, Mode: event.ModeAudit})
		put(1, 30, event.Decision{Action: event.ActionUndecided, Would: event.ActionUndecided, Mode: event.ModeAudit})
		put(1, 60, event.Decision{Action: event.ActionAllow, Would: event.ActionDeny, Mode: event.ModeAudit, Rule: "x", Matches: []string{"x", "y"},
			Revision: "r1", Reason: "why", Pos: "a.yaml:3", Capped: true, At: base.Add(time.Minute), Input: 1<<63 + 5, Previous: &before})
		put(2, 100, event.Decision{Action: event.ActionAllow, Would: event.ActionAllow, Mode: event.ModeAudit, Rule: "x", Revision: "r2"})
		flush(t, s)
		action := func(minute int, a event.Action, column string) int64 {
			return number(t, s, fmt.Sprintf("SELECT ifnull(sum(%s), 0) FROM rollup WHERE dim = 12 AND res = 0 AND bucket = %d AND key = %d",
				column, base.Add(time.Duration(minute)*time.Minute).Unix(), a))
		}
		for _, want := range c.want {
			if sent, count := action(want.minute, want.action, "sent"), action(want.minute, want.action, "connections"); sent != want.sent || count != want.count {
				t.Errorf("%s: minute %d %v: %d bytes and %d connections, want %d and %d", name, want.minute, want.action, sent, count, want.sent, want.count)
			}
		}
		for _, dim := range []int{11, 12} {
			if n := number(t, s, fmt.Sprintf("SELECT sum(sent) * 10 + sum(connections) FROM rollup WHERE res = 0 AND dim = %d", dim)); n != 1001 {
				t.Errorf("%s: dimension %d adds up to %d, want 100 bytes and 1 connection", name, dim, n)
			}
		}
		if n := number(t, s, "SELECT count(*) FROM connection c JOIN decision d ON d.id = c.decision JOIN text v ON v.id = d.revision WHERE v.value = 'r2'"); n != 1 {
			t.Errorf("%s: the row does not have the last decision", name)
		}
		checkWhole(t, s)
	}
}

// TestUndecidedWithinAMinute moves the connection itself too.
func TestUndecidedWithinAMinute(t *testing.T) {
	s := open(t, t.TempDir())
	c := connection(1, base, 10, 5)
	c.Decision = event.Decision{Action: event.ActionUndecided}
	s.Append(batch(base, c))
	flush(t, s)
	c.Decision = event.Decision{Action: event.ActionDeny, Rule: "no"}
	s.Append(batch(base.Add(time.Minute), c))
	flush(t, s)
	if n := number(t, s, "SELECT sum(connections) * 100 + sum(sent) FROM rollup WHERE dim = 12 AND key = 3"); n != 110 {
		t.Errorf("under deny: %d, want 1 connection and 10 bytes", n)
	}
	if n := number(t, s, "SELECT sum(connections) + sum(sent) + sum(received) FROM rollup WHERE dim = 12 AND key = 4"); n != 0 {
		t.Errorf("%d is left under undecided", n)
	}
	checkWhole(t, s)
}
