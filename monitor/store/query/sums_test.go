package query_test

import (
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
)

// TestSums compares what the rollups say with what was put in, over ranges
// that begin and end within minutes, hours and days, while hours and days are
// added up on the way and late batches arrive.
func TestSums(t *testing.T) {
	t.Run("minutes kept", func(t *testing.T) { testSums(t, time.Minute, 1000*time.Hour) })
	t.Run("minutes purged", func(t *testing.T) { testSums(t, time.Hour, time.Hour) })
}

// testSums compares over bounds that are rounded outwards to round.
func testSums(t *testing.T, round, minutes time.Duration) {
	dir := t.TempDir()
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now := day
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Group: -1, Rollups: store.RollupAge{Minutes: minutes}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		at   time.Time
		exe  string
		sent uint64
	}
	var all []entry
	add := func(at time.Time) {
		n := len(all)
		e := entry{at, fmt.Sprintf("/bin/%d", n%3), uint64(n + 1)}
		all = append(all, e)
		s.Append(store.Batch{Time: at, Connections: []event.Connection{{ID: uint64(len(all)), Opened: at, Last: at, Sent: e.sent, Closed: true, Direction: event.Out,
			Process: &event.Process{Executable: event.Executable{Path: e.exe, Kind: event.ExecutableFile, Reason: event.HashPending}}}}})
	}
	for now.Before(day.Add(75 * time.Hour)) {
		add(now)
		if len(all)%10 == 0 {
			add(now.Add(-30 * time.Hour)) // the clock was set
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(all)%4 != 0 {
			now = now.Add(17 * time.Minute)
			continue
		}
		if err := s.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(17 * time.Minute)
	}
	db := openDB(t, dir)
	defer closeDB(t, db)
	minute := func(h, m int) time.Time { return day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute) }
	for _, r := range []struct{ since, until time.Time }{
		{}, {minute(0, 0), minute(24, 0)}, {minute(1, 30), minute(1, 50)}, {minute(0, 59), minute(49, 1)}, {minute(23, 59), minute(72, 30)},
		{minute(70, 0), time.Time{}}, {time.Time{}, minute(2, 0)}, {minute(74, 0), minute(90, 0)}, {minute(-31, 0), minute(3, 3)}, {minute(5, 0), minute(5, 0)},
	} {
		t.Run(fmt.Sprintf("%s–%s", r.since.Format("02T1504"), r.until.Format("02T1504")), func(t *testing.T) {
			since, until := r.since.Truncate(round), r.until.Add(round-1).Truncate(round)
			want, total := map[string]uint64{}, [2]uint64{}
			for _, e := range all {
				if e.at.Before(since) || !r.until.IsZero() && !e.at.Before(until) {
					continue
				}
				want[e.exe] += e.sent
				total[0] += e.sent
				total[1]++
			}
			for _, by := range [][]string{{"exe"}, {"exe", "sha256"}} {
				got := map[string]uint64{}
				groups, err := db.Group(t.Context(), query.GroupQuery{By: by, Since: r.since, Until: r.until})
				if err != nil {
					t.Fatal(err)
				}
				for _, g := range groups.Rows {
					got[g.Keys[0]] = g.Sent
				}
				if diff := gocmp.Diff(got, want); diff != "" {
					t.Errorf("by %v: sums (-) are not those of the entries (+):\n%s", by, diff)
				}
				if groups.Basis != query.BasisMoved {
					t.Errorf("basis %s", groups.Basis)
				}
				if got := [2]uint64{groups.Total.Sent, groups.Total.Connections}; got != total {
					t.Errorf("total = %v, want %v", got, total)
				}
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
