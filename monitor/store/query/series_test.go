package query_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// genLives makes connections of some hours around noon.
func genLives(rt *rapid.T) []event.Connection {
	conns := make([]event.Connection, rapid.IntRange(1, 12).Draw(rt, "n"))
	for i := range conns {
		c := conn(uint64(i+1), noon.Add(time.Duration(rapid.Int64Range(-3e12, 3e12).Draw(rt, "opened"))))
		c.Last = c.Opened.Add(time.Duration(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 8e12)).Draw(rt, "life")))
		p := *c.Process
		p.Executable.Path = rapid.SampledFrom([]string{"/bin/a", "/bin/b", "/bin/c", "/bin/d"}).Draw(rt, "exe")
		c.Process = &p
		c.Sent, c.Received = rapid.Uint64Range(0, 1<<40).Draw(rt, "sent"), rapid.Uint64Range(0, 1<<40).Draw(rt, "received")
		conns[i] = c
	}
	return conns
}

// TestSeriesAgrees: a series over all time adds up to the connections, whether
// it comes from rows or from rollups, and whatever has a line of its own.
func TestSeriesAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		conns := genLives(rt)
		db := inBlocks(t, tempDir(t, rt), conns)
		defer closeDB(t, db)
		filters := rapid.SampledFrom([][]string{nil, {"rport=443"}, {"exe=/bin/a,/bin/b"}, {"exe=/bin/a", "proto=tcp"}}).Draw(rt, "filters")
		fs, err := query.Parse(filters)
		if err != nil {
			rt.Fatal(err)
		}
		q := query.SeriesQuery{Filters: fs, By: rapid.SampledFrom([]string{"", "exe", "uid"}).Draw(rt, "by"), Top: rapid.IntRange(0, 3).Draw(rt, "top"),
			Points: rapid.SampledFrom([]int{0, 1, 7, 240}).Draw(rt, "points"), Since: noon.Add(-time.Hour), Until: noon.Add(4 * time.Hour)}
		s, err := db.Series(t.Context(), q)
		if err != nil {
			rt.Fatal(err)
		}
		most := q.Points
		if most == 0 {
			most = query.MaxSeriesPoints
		}
		if n := len(s.Times); n < 1 || n > most {
			rt.Fatalf("%d points of %v, want at most %d", n, time.Duration(s.Width), most)
		}
		var sent, received, connections uint64
		for i, l := range s.Lines {
			if len(l.Sent) != len(s.Times) || l.Other != (i == q.Top && q.Top != 0) {
				rt.Fatalf("line %d: %+v", i, l)
			}
			for b := range l.Sent {
				sent, received, connections = sent+l.Sent[b], received+l.Received[b], connections+l.Connections[b]
			}
		}
		var want [3]uint64
		for _, r := range records(conns) {
			if fs.Match(&r) {
				want = [3]uint64{want[0] + r.Sent, want[1] + r.Received, want[2] + 1}
			}
		}
		if got := [3]uint64{sent, received, connections}; got != want {
			rt.Fatalf("series by %q of %q adds up to %v, the connections to %v", q.By, filters, got, want)
		}
	})
}

// TestGroupByTime: what is grouped by time too adds up to what is not.
func TestGroupByTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		conns := genLives(rt)
		db := inBlocks(t, tempDir(t, rt), conns)
		defer closeDB(t, db)
		fs, err := query.Parse(rapid.SampledFrom([][]string{nil, {"rport=443"}}).Draw(rt, "filters"))
		if err != nil {
			rt.Fatal(err)
		}
		q := query.GroupQuery{Filters: fs, Since: noon.Add(-time.Hour), Until: noon.Add(4 * time.Hour), Order: query.OrderName, Limit: 10_000}
		sums := func(by ...string) map[string]uint64 {
			q.By = by
			g, err := db.Group(t.Context(), q)
			if err != nil {
				rt.Fatal(err)
			}
			out := map[string]uint64{}
			for _, r := range g.Rows {
				out[r.Keys[len(r.Keys)-1]] += r.Sent
				if by[0] == query.ByTime {
					at, err := time.Parse(time.RFC3339, r.Keys[0])
					if err != nil || at.Unix()%int64(time.Duration(g.Width).Seconds()) != 0 || r.Sent > 0 && r.Last.Before(at) {
						rt.Fatalf("time %q of width %v, last %v (%v)", r.Keys[0], time.Duration(g.Width), r.Last, err)
					}
				}
			}
			return out
		}
		if a, b := fmt.Sprint(sums("exe")), fmt.Sprint(sums(query.ByTime, "exe")); a != b && !strings.Contains(a, ":0") {
			rt.Fatalf("by exe %s, by time and exe %s", a, b)
		}
	})
}

// TestSeriesSpreads: the bytes of a connection are where it lived, and what is
// outside of the range is left away.
func TestSeriesSpreads(t *testing.T) {
	c := conn(1, noon.Add(-30*time.Minute))
	c.Last, c.Sent, c.Received = noon.Add(90*time.Minute), 1200, 0
	db := written(t, t.TempDir(), []event.Connection{c})
	defer closeDB(t, db)
	fs, err := query.Parse([]string{"rport=443"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := db.Series(t.Context(), query.SeriesQuery{Filters: fs, Since: noon, Until: noon.Add(2 * time.Hour), Points: 4})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s %v %v %v %v", s.Basis, time.Duration(s.Width), s.Times[0].Equal(noon), s.Lines[0].Sent, s.Lines[0].Connections); got != "connections 30m0s true [300 300 300 0] [0 0 0 0]" {
		t.Errorf("series: %s", got)
	}
}

func TestSeriesBounds(t *testing.T) {
	db := written(t, t.TempDir(), []event.Connection{conn(1, noon)})
	defer closeDB(t, db)
	for _, q := range []query.SeriesQuery{{Top: -1}, {Top: 33}, {Points: 241}, {Points: -1}, {By: "matches"}, {By: "time"}, {By: "exee"}} {
		if _, err := db.Series(t.Context(), q); err == nil {
			t.Errorf("%+v was answered", q)
		}
	}
	for _, q := range []query.SeriesQuery{{}, {By: "exe"}, {Since: noon.AddDate(-300, 0, 0)}, {Until: noon.AddDate(-300, 0, 0)}, {Since: noon, Until: noon}, {Since: noon.Add(time.Hour), Until: noon}} {
		s, err := db.Series(t.Context(), q)
		if err != nil || len(s.Times) > query.MaxSeriesPoints {
			t.Errorf("%+v: %d points (%v)", q, len(s.Times), err)
		}
	}
	empty := written(t, t.TempDir(), nil)
	defer closeDB(t, empty)
	if s, err := empty.Series(t.Context(), query.SeriesQuery{By: "exe"}); err != nil || len(s.Lines) != 0 {
		t.Errorf("nothing: %+v (%v)", s, err)
	}
	if o, err := empty.Overview(t.Context(), noon, time.Time{}); err != nil || o.Now != (query.KPIs{}) {
		t.Errorf("nothing: %+v (%v)", o, err)
	}
}
