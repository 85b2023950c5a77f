package store

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// clock is a clock that tests move.
type clock struct{ now time.Time }

func (c *clock) config(cfg *Config) { cfg.Now = func() time.Time { return c.now } }

// keepHouse runs the house-keeping until nothing is left to do.
func keepHouse(t testing.TB, s *Store) {
	t.Helper()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	for n := 0; ; n++ {
		more, err := s.w.housekeepOnce(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		if n > 100_000 {
			t.Fatal("the house-keeping does not end")
		}
	}
	if err := soundConn(s.w.c); err != nil {
		t.Error(err)
	}
	s.refreshStats()
}

// TestPurgeByAge: rows go when their last activity is old, with what only they
// referred to; sums, open connections and what is young stay.
func TestPurgeByAge(t *testing.T) {
	c := clock{base}
	s := open(t, t.TempDir(), c.config, func(cfg *Config) { cfg.MaxAge = 24 * time.Hour })
	add := func(id uint64, closed bool, last time.Time) {
		n := connection(id, base, 10, 0)
		n.Closed, n.Last = closed, last
		n.Name.Domain = fmt.Sprintf("only%d.example.org", id)
		n.Process.Executable.Path = fmt.Sprintf("/usr/bin/only%d", id)
		n.Process.Args = []string{fmt.Sprintf("only %d", id)}
		n.Decision = event.Decision{Rule: fmt.Sprintf("rule-%d", id), Matches: []string{fmt.Sprint(id)}}
		s.Append(Batch{Time: c.now, Connections: []event.Connection{n}, Execs: []event.ExecSeen{{Time: c.now, Process: n.Process}},
			Losses: []event.Loss{{Time: c.now, Cause: event.LossHash, Count: 1, Process: n.Process}}})
		flush(t, s)
	}
	add(1, true, base.Add(time.Second))
	add(2, true, base.Add(30*time.Hour)) // was active later
	add(3, false, base.Add(time.Second)) // still open
	c.now = base.Add(40 * time.Hour)
	add(4, true, c.now)
	keepHouse(t, s)
	for sql, want := range map[string]int64{
		"SELECT sum(1 << id) FROM connection":                       1<<2 | 1<<3 | 1<<4,
		"SELECT count(*) FROM exec_log":                             1,
		"SELECT count(*) FROM loss":                                 1,
		"SELECT sum(connections) FROM rollup WHERE dim=1 AND res=0": 4,
		"SELECT sum(connections) FROM rollup WHERE dim=1 AND res=1": 3, // the hour of the fourth has not ended
		"SELECT count(*) FROM text WHERE value = 'only 1'":          0,
		"SELECT count(*) FROM text WHERE value = 'only 2'":          1,
		"SELECT count(*) FROM list WHERE items = '\"1\"'":           0,
		"SELECT count(*) FROM executable WHERE path LIKE '%only1'":  1, // a sum is kept for it
		"SELECT count(*) FROM domain WHERE name LIKE 'only1.%'":     1,
		"SELECT count(*) FROM process WHERE parent IS NULL":         1,
	} {
		if got := number(t, s, sql); got != want {
			t.Errorf("%s = %d, want %d", sql, got, want)
		}
	}
	if st := s.Stats(); st.Rows != 3 || st.Retention.Purged == 0 || st.Retention.Orphans == 0 || !st.Retention.Oldest.Equal(base) {
		t.Errorf("stats = %+v", st)
	}
	// The open one goes on: its row is still there to be changed.
	add(3, true, c.now)
	if n := number(t, s, "SELECT count(*) FROM connection WHERE id = 3"); n != 1 {
		t.Errorf("%d rows of the open connection, want 1", n)
	}
	// Sums go too when their time has come, and with them the last names.
	c.now = base.Add(10 * 366 * 24 * time.Hour)
	keepHouse(t, s)
	for _, table := range []string{"connection", "exec_log", "loss", "batch", "rollup"} {
		if n := number(t, s, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%d rows in %s, want 0", n, table)
		}
	}
	for _, table := range tableNames {
		if n := number(t, s, "SELECT count(*) FROM "+table); n > 8 { // the newest and what it refers to: a process, its ancestors and their strings
			t.Errorf("%d rows in %s, want 8 at most", n, table)
		}
	}
}

// TestPurgeBySize: the file gets smaller while it is in use, the youngest rows
// stay, and commits between the steps lose nothing.
func TestPurgeBySize(t *testing.T) {
	const bound = 2 << 20
	c := clock{base}
	s := open(t, t.TempDir(), c.config, func(cfg *Config) { cfg.MaxBytes = bound })
	id := uint64(0)
	add := func(n int) {
		for range n {
			id++
			conn := connection(id, base.Add(time.Duration(id)*time.Second), 1, 0)
			conn.Closed = true
			conn.Process.Args = []string{strings.Repeat("y", 300), fmt.Sprint(id)}
			s.Append(batch(base, conn))
		}
		flush(t, s)
	}
	for range 10 {
		add(1500)
	}
	if _, err := s.w.c.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 { // purge and traffic at once
		s.writeMu.Lock()
		_, err := s.w.housekeepOnce(s.cfg)
		s.writeMu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		add(5)
	}
	keepHouse(t, s)
	if _, err := s.w.c.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("file: %d bytes before, %d after", before.Size(), after.Size())
	if before.Size() < 2*bound || after.Size() > bound {
		t.Errorf("file had %d and has %d bytes, bound %d", before.Size(), after.Size(), bound)
	}
	rows := number(t, s, "SELECT count(*) FROM connection")
	if oldest := number(t, s, "SELECT min(id) FROM connection"); oldest != int64(id)-rows+1 || rows < 500 {
		t.Errorf("%d rows from %d to %d: not the youngest, or too few", rows, oldest, id)
	}
	if got := number(t, s, "SELECT sum(connections) FROM rollup WHERE dim = 1 AND res = 0"); got != int64(id) {
		t.Errorf("sums count %d connections, want %d", got, id)
	}
}

// TestCollectionWhileWriting: what is used again during a collection stays,
// in each of its phases.
func TestCollectionWhileWriting(t *testing.T) {
	for step := range 60 {
		s := open(t, t.TempDir())
		again := connection(1, base, 1, 0)
		again.Closed = true
		s.Append(batch(base, again))
		flush(t, s)
		keepHouse(t, s)
		if _, err := s.w.c.exec("DELETE FROM rollup"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.w.removeCounted("connection", "DELETE FROM connection"); err != nil {
			t.Fatal(err)
		}
		other := connection(2, base, 1, 0) // the newest of each table are never removed
		other.Process = &event.Process{Name: "zz", Args: []string{"zz"}, Executable: event.Executable{Path: "/zz", Reason: event.HashPending}}
		other.Name.Domain, other.Remote, other.UID = "zz.example.org", other.Local, 7
		s.Append(batch(base, other))
		flush(t, s)
		var more bool
		var err error
		for range step {
			if more, err = s.w.housekeepOnce(s.cfg); err != nil {
				t.Fatal(err)
			}
		}
		again.ID = 3
		s.Append(batch(base, again))
		flush(t, s)
		keepHouse(t, s)
		if n := number(t, s, "SELECT count(*) FROM connection WHERE process IS NOT NULL"); n != 2 {
			t.Fatalf("step %d: %d connections, want 2", step, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if step > 0 && !more {
			return // all phases were seen
		}
	}
	t.Fatal("the collection did not end")
}

// TestClosedConnectionsAreForgotten: memory does not grow with the number of
// connections that ever were.
func TestClosedConnectionsAreForgotten(t *testing.T) {
	s := open(t, t.TempDir())
	for id := range uint64(3 * closedKept) {
		c := connection(id+1, base, 1, 0)
		c.Closed = true
		s.Append(batch(base, c))
		if id%1000 == 0 {
			flush(t, s)
		}
	}
	flush(t, s)
	if n := len(s.queue.known); n > closedKept {
		t.Errorf("%d connections are remembered, want %d at most", n, closedKept)
	}
	if len(s.queue.flight)+len(s.queue.latest)+len(s.queue.owed)+len(s.queue.rows) != 0 {
		t.Error("the queue is empty but its indexes are not")
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(t.Context(), Config{Dir: dir, Group: -1}); !errors.Is(err, ErrLocked) {
		t.Errorf("second store in one directory: %v, want ErrLocked", err)
	}
	if err := s.w.c.script(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: dir, Group: -1}); !errors.Is(err, ErrNewer) {
		t.Errorf("newer schema: %v, want ErrNewer", err)
	}
	c, err := dial(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.script(t.Context(), "PRAGMA application_id = 1"); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: dir, Group: -1}); !errors.Is(err, ErrForeign) {
		t.Errorf("foreign database: %v, want ErrForeign", err)
	}
	for _, cfg := range []Config{{}, {Dir: dir, Interval: -1}, {Dir: dir, MaxBytes: 1}} {
		if _, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// TestMigrateSteps goes through versions that do not exist yet: a copy is made
// first, all steps happen or none.
func TestMigrateSteps(t *testing.T) {
	dir := t.TempDir()
	path := filled(t, dir)
	c, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	version := func() int64 {
		v, _, err := c.number("PRAGMA user_version")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const now = schema.Version
	bad := append(make([]string, now), "ALTER TABLE run ADD COLUMN host TEXT", "CREATE TABLE oops (")
	if err := migrate(c, path, -1, now, bad, base); err == nil {
		t.Fatal("a migration that does not parse succeeded")
	}
	if n, _, err := c.number("SELECT count(*) FROM pragma_table_info('run') WHERE name = 'host'"); err != nil || n != 0 || version() != now {
		t.Fatalf("half a migration was kept (%d columns, version %d, %v)", n, version(), err)
	}
	good := append(make([]string, now), "ALTER TABLE run ADD COLUMN host TEXT", "CREATE TABLE extra (id INTEGER PRIMARY KEY) STRICT")
	if err := migrate(c, path, -1, now, good, base.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if version() != now+2 {
		t.Errorf("version = %d, want %d", version(), now+2)
	}
	backup := fmt.Sprintf("%s.schema-%d-20260301T120001Z", path, now)
	fi, err := os.Stat(backup)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode() != fileMode {
		t.Errorf("the copy has mode %v", fi.Mode())
	}
	sound(t, backup)
}

// TestRuns: a run that did not end in order gets the time of its last batch.
func TestRuns(t *testing.T) {
	dir := t.TempDir()
	c := clock{base}
	s := open(t, dir, c.config)
	c.now = base.Add(time.Hour)
	s.Append(batch(c.now, connection(1, base, 1, 0)))
	flush(t, s)
	if err := errors.Join(s.detach(), s.release()); err != nil { // as after a crash
		t.Fatal(err)
	}
	s.closed = true
	c.now = base.Add(2 * time.Hour)
	s = open(t, dir, c.config)
	if n := number(t, s, "SELECT count(*) FROM run WHERE id = 1 AND clean = 0 AND stopped = "+fmt.Sprint(base.Add(time.Hour).UnixNano())); n != 1 {
		t.Error("the run that crashed was not ended with its last batch")
	}
	c.now = base.Add(3 * time.Hour)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, c.config)
	if n := number(t, s, "SELECT count(*) FROM run WHERE id = 2 AND clean = 1 AND stopped = "+fmt.Sprint(c.now.UnixNano())); n != 1 {
		t.Error("the run that was closed is not marked as ended in order")
	}
}
