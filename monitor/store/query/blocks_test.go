package query_test

import (
	"database/sql"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// life is a record that grows, in blocks of eight rows.
type life struct {
	*testing.T
	dir   string
	now   time.Time
	store *store.Store
}

func (l *life) begin(keep time.Duration) {
	l.Helper()
	s, err := store.Open(l.Context(), store.Config{Dir: l.dir, Group: -1, BlockRows: 8, MaxAge: keep, Now: func() time.Time { return l.now }})
	if err != nil {
		l.Fatal(err)
	}
	l.store = s
}

func (l *life) end() {
	l.Helper()
	if err := l.store.Close(); err != nil {
		l.Fatal(err)
	}
}

func (l *life) write(conns ...event.Connection) {
	l.Helper()
	l.store.Append(store.Batch{Time: l.now, Connections: conns})
	if err := l.store.Flush(l.Context()); err != nil {
		l.Fatal(err)
	}
}

func (l *life) maintain() {
	l.Helper()
	l.now = l.now.Add(2 * time.Minute)
	if err := l.store.Maintain(l.Context()); err != nil {
		l.Fatal(err)
	}
}

// number asks the file itself.
func (l *life) number(text string) (n int) {
	l.Helper()
	db, err := sql.Open("sqlite", filepath.Join(l.dir, schema.FileName))
	if err != nil {
		l.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(l.Context(), text).Scan(&n); err != nil {
		l.Fatal(err)
	}
	return n
}

// agrees compares groups over ranges with the connections of the same range,
// which are read as rows.
func (l *life) agrees(when string, db *query.DB, from time.Time) {
	l.Helper()
	at := func(minutes int) time.Time { return from.Add(time.Duration(minutes) * time.Minute) }
	for _, r := range []struct{ since, until time.Time }{{}, {at(30), at(90)}, {at(45), time.Time{}}, {time.Time{}, at(61)}, {at(200), at(300)}} {
		for _, filters := range [][]string{nil, {"exe=/bin/1"}, {"domain!=*1.example.org", "service=443-500"}, {"raddr=192.0.2.0/29", "result=closed"}, {"novelty="}, {"ancestor.exe=/bin/sh"}} {
			fs, err := query.Parse(filters)
			if err != nil {
				l.Fatal(err)
			}
			all := selected(l, db, query.Query{Since: r.since, Until: r.until, Filters: fs})
			for _, by := range [][]string{{"exe", "domain"}, {"raddr", "service"}, {"pid", "action"}, {"proto", "parent.exe"}} {
				groups, err := db.Group(l.Context(), query.GroupQuery{By: by, Since: r.since, Until: r.until, Filters: fs, Limit: 1000})
				if err != nil {
					l.Fatal(err)
				}
				got := map[string]query.GroupRow{}
				for _, g := range groups.Rows {
					g.Details, g.First, g.Last = nil, time.Time{}, time.Time{}
					got[strings.Join(g.Keys, "\x01")] = g
				}
				if diff := gocmp.Diff(got, grouped(all, by, nil)); diff != "" {
					l.Fatalf("%s: %v–%v by %v, filters %q: groups (-) are not the sums of the rows (+):\n%s", when, r.since, r.until, by, filters, diff)
				}
			}
		}
	}
}

// lives are n connections, one a minute, some of which last.
func lives(n int, from time.Time) (out []event.Connection) {
	for i := range n {
		c := conn(uint64(i+1), from.Add(time.Duration(i)*time.Minute))
		p := *c.Process
		p.Executable.Path, p.ID.PID = fmt.Sprintf("/bin/%d", i%3), uint32(i%5)
		c.Process, c.Name.Domain, c.Sent, c.Received = &p, fmt.Sprintf("%d.example.org", i%4), uint64(1000+i), uint64(i)<<(i%40)
		c.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 12)}), uint16(400+i*20))
		c.Decision.Action = []event.Action{event.ActionAlert, event.ActionDeny}[i%2]
		c.Closed = i%7 != 0
		if i%5 == 0 {
			c.Last = c.Opened.Add(45 * time.Minute)
		}
		out = append(out, c)
	}
	return out
}

// TestBlocks: sums that come from blocks are those of the rows, whatever
// happens to rows after their block was made.
func TestBlocks(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	l := &life{T: t, dir: t.TempDir(), now: from.Add(3 * time.Hour)}
	l.begin(0)
	conns := lives(100, from)
	l.write(conns...)
	db := openDB(t, l.dir)
	defer closeDB(t, db)
	l.agrees("before there are blocks", db, from)
	l.maintain()
	if n := l.number("SELECT count(*) FROM block"); n != 12 {
		t.Errorf("%d blocks of 100 rows, want 12", n)
	}
	if n := l.number("SELECT count(*) FROM block_loose"); n != 14 {
		t.Errorf("%d rows are loose, want the 14 that are open", n)
	}
	l.agrees("with blocks", db, from)
	open := conns[7]
	open.Sent, open.Last, open.Closed = 5_000_000, l.now, true
	late := conn(500, from.Add(50*time.Minute)) // the clock was set
	early := conn(501, from.Add(-time.Hour))
	l.write(open, late, early)
	l.agrees("after one ended and two came late", db, from)
	l.end()
	l.begin(0)
	l.write(lives(40, from.Add(100*time.Minute))...)
	l.now = l.now.Add(3 * time.Hour)
	l.maintain()
	if n := l.number("SELECT count(*) FROM block"); n != 17 {
		t.Errorf("%d blocks in the second run, want 17", n)
	}
	l.agrees("in the second run", db, from)
	l.end()
	l.begin(l.now.Sub(from.Add(35 * time.Minute))) // what ended before goes
	l.maintain()
	if n := l.number("SELECT count(*) FROM block"); n == 0 || n >= 17 {
		t.Errorf("%d blocks after the purge, want some of 17", n)
	}
	if n := l.number("SELECT count(*) FROM connection"); n == 0 || n > 115 {
		t.Errorf("%d rows after the purge", n)
	}
	l.agrees("after the purge", db, from)
	l.end()
}

// TestBlocksAreRead: it is the blocks that answer, but for those that are
// damaged, whose rows do.
func TestBlocksAreRead(t *testing.T) {
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	l := &life{T: t, dir: t.TempDir(), now: from.Add(30 * time.Hour)}
	l.begin(0)
	conns := lives(24, from)
	for i := range conns {
		conns[i].Closed, conns[i].Sent = true, 1
	}
	l.write(conns...)
	l.maintain()
	l.end()
	file, err := sql.Open("sqlite", filepath.Join(l.dir, schema.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	db := openDB(t, l.dir)
	defer closeDB(t, db)
	for _, step := range []struct {
		text string
		want uint64
	}{
		{"SELECT 1", 24},
		{"UPDATE connection SET sent = 100", 16 + 800}, // nobody but the daemon writes: two blocks, and a rest
		{"DELETE FROM block_column WHERE id = 1 * 32 + 2", 8 + 1600},
		{"UPDATE block_column SET data = x'0102030405060708090a0b' WHERE id = 2 * 32 + 5", 2400},
		{"UPDATE block SET first = 5, until = 4, rows = -1 WHERE id = 1", 2400},
		{"UPDATE block SET id = 1 << 62, until = 9223372036854775807, rows = 1 << 40 WHERE id = 2", 2400},
	} {
		if _, err := file.ExecContext(t.Context(), step.text); err != nil {
			t.Fatal(err)
		}
		groups, err := db.Group(t.Context(), query.GroupQuery{By: []string{"exe", "domain"}})
		if err != nil {
			t.Fatal(err)
		}
		if groups.Total.Sent != step.want || groups.Total.Connections != 24 {
			t.Errorf("after %q: %d bytes of %d connections, want %d of 24", step.text, groups.Total.Sent, groups.Total.Connections, step.want)
		}
	}
}
