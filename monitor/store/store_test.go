package store

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// base is the clock of the tests: whole seconds, long ago enough to be safe
// from the real one.
var base = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// open opens a store in dir with a clock that stands at base and closes it at
// the end of the test.
func open(t testing.TB, dir string, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Dir: dir, Group: -1, Now: func() time.Time { return base }, Run: Run{Version: "test", Tier: "reference", Boot: "b"}}
	for _, f := range change {
		f(&cfg)
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// flush commits and fails the test when that does not work.
func flush(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// number asks the store's own connection.
func number(t testing.TB, s *Store, sql string) int64 {
	t.Helper()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.w == nil {
		t.Fatalf("%s: the store has no file", sql)
	}
	n, _, err := s.w.c.number(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// sound checks what must hold of every database at any moment.
func sound(t testing.TB, path string) {
	t.Helper()
	c, err := dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := soundConn(c); err != nil {
		t.Error(err)
	}
}

func soundConn(c *conn) error {
	for _, check := range []struct {
		sql  string
		want int64
	}{
		{"SELECT count(*) FROM pragma_quick_check WHERE quick_check <> 'ok'", 0},
		{"SELECT count(*) FROM pragma_foreign_key_check", 0},
		{"SELECT (SELECT count(*) FROM connection) - (SELECT value FROM counter WHERE name = 'connection')", 0},
		{"SELECT (SELECT count(*) FROM exec_log) - (SELECT value FROM counter WHERE name = 'exec_log')", 0},
	} {
		n, _, err := c.number(check.sql)
		if err != nil {
			return fmt.Errorf("%s: %w", check.sql, err)
		}
		if n != check.want {
			return fmt.Errorf("%s = %d, want %d", check.sql, n, check.want)
		}
	}
	return nil
}

// whole checks that the sums of the batches are those of the rows and of the
// rollups: nothing twice, nothing half. It holds while nothing was purged.
func whole(c *conn) error {
	for _, column := range []string{"sent", "received"} {
		for _, sql := range []string{
			"SELECT ifnull(sum(%[1]s), 0) - (SELECT ifnull(sum(%[1]s), 0) FROM batch) FROM connection",
			"SELECT ifnull(sum(%[1]s), 0) - (SELECT ifnull(sum(%[1]s), 0) FROM rollup WHERE dim = 1 AND res = 0) FROM connection",
		} {
			sql = fmt.Sprintf(sql, column)
			n, _, err := c.number(sql)
			if err != nil {
				return err
			}
			if n != 0 {
				return fmt.Errorf("%s = %d, want 0", sql, n)
			}
		}
	}
	n, _, err := c.number("SELECT count(*) - (SELECT ifnull(sum(inserted), 0) FROM batch) FROM connection")
	if err == nil && n != 0 {
		err = fmt.Errorf("%d rows more than the batches say", n)
	}
	return err
}

// process makes a process with a parent and a grandparent.
func process(pid int) *event.Process {
	shell := &event.Process{ID: event.ProcessID{PID: 2}, Name: "bash", Args: []string{"-bash"},
		Executable: event.Executable{Path: "/usr/bin/bash", Kind: event.ExecutableFile, SHA256: event.Digest{1}, Reason: event.HashKnown},
		Parent: &event.Process{ID: event.ProcessID{PID: 1}, Name: "systemd", Args: []string{"/sbin/init"},
			Executable: event.Executable{Path: "/usr/lib/systemd/systemd", Kind: event.ExecutableFile, SHA256: event.Digest{2}, Reason: event.HashKnown}}}
	return &event.Process{ID: event.ProcessID{PID: uint32(pid)}, Name: "curl", Args: []string{"curl", fmt.Sprint("https://example.org/", pid%50)},
		Executable: event.Executable{Path: "/usr/bin/curl", Kind: event.ExecutableFile, Reason: event.HashPending},
		UID:        1000, Cgroup: event.Cgroup{Path: "/user.slice"}, Parent: shell}
}

// connection makes a snapshot of connection id.
func connection(id uint64, at time.Time, sent, received uint64) event.Connection {
	return event.Connection{ID: id, Process: process(int(id%100) + 100), Opened: at, Last: at.Add(time.Second), Direction: event.Out,
		Family: event.AFInet, Proto: event.ProtoTCP, Local: netip.MustParseAddrPort("10.0.0.2:40000"),
		Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(id)}), 443),
		Name:   event.Name{Domain: fmt.Sprintf("host%d.example.org", id%7), Source: event.NameDNS, At: at.Add(-time.Minute)},
		Sent:   sent, Received: received, Packets: 3, Result: event.ResultEstablished, UID: 1000, NetNS: 4026531840,
		Cgroup: event.Cgroup{Path: "/user.slice"}}
}

func batch(at time.Time, c ...event.Connection) Batch { return Batch{Time: at, Connections: c} }

func TestSnapshotReplacesRow(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	c := connection(1, base, 10, 20)
	s.Append(batch(base, c))
	flush(t, s)
	c.Sent, c.Received, c.Closed, c.Result = 15, 20, true, event.ResultClosed
	p := *c.Process
	p.Executable.SHA256, p.Executable.Reason = event.Digest{9}, event.HashKnown
	c.Process = &p
	s.Append(batch(base.Add(time.Minute), c))
	flush(t, s)
	for sql, want := range map[string]int64{
		"SELECT count(*) FROM connection":                                                                               1,
		"SELECT sent FROM connection":                                                                                   15,
		"SELECT result FROM connection":                                                                                 int64(event.ResultClosed),
		"SELECT connections FROM rollup WHERE dim = 1 AND res = 0 ORDER BY bucket":                                      1,
		"SELECT sent FROM rollup WHERE dim = 1 AND res = 0 ORDER BY bucket":                                             10,
		"SELECT sent FROM rollup WHERE dim = 1 AND res = 0 ORDER BY bucket DESC":                                        5,
		"SELECT count(*) FROM batch":                                                                                    2,
		"SELECT sum(inserted) * 10 + sum(updated) FROM batch":                                                           11,
		"SELECT e.reason FROM connection c JOIN process p ON p.id = c.process JOIN executable e ON e.id = p.executable": int64(event.HashKnown),
	} {
		if got := number(t, s, sql); got != want {
			t.Errorf("%s = %d, want %d", sql, got, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, filepath.Join(dir, schema.FileName))
}

// TestLateCorrection: a digest that comes after the connection was closed
// changes its row and adds nothing.
func TestLateCorrection(t *testing.T) {
	s := open(t, t.TempDir())
	c := connection(1, base, 10, 20)
	c.Closed = true
	s.Append(batch(base, c))
	flush(t, s)
	p := *c.Process
	p.Executable.SHA256, p.Executable.Reason = event.Digest{9}, event.HashKnown
	c.Process = &p
	s.Append(batch(base, c))
	flush(t, s)
	if n := number(t, s, "SELECT count(*) * 1000 + sum(sent) FROM connection"); n != 1010 {
		t.Errorf("rows and bytes = %d, want 1010", n)
	}
	if n := number(t, s, "SELECT sum(sent) FROM rollup WHERE dim = 1"); n != 10 {
		t.Errorf("bytes in the sums = %d, want 10", n)
	}
}

func TestFileModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir, func(c *Config) { c.Group = os.Getgid() })
	s.Append(batch(base, connection(1, base, 1, 1)))
	flush(t, s)
	for name, want := range map[string]os.FileMode{"": 0o750 | os.ModeDir, "snitch.db": 0o640, "snitch.db-wal": 0o640, "snitch.db-shm": 0o640} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != want {
			t.Errorf("%s has mode %v, want %v", fi.Name(), fi.Mode(), want)
		}
	}
}

func TestRunCommitsOnIntervalAndAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, func(c *Config) { c.Interval = 20 * time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	s.Append(batch(base, connection(1, base, 1, 1)))
	for deadline := time.Now().Add(10 * time.Second); s.Stats().Rows != 1; {
		if time.Now().After(deadline) {
			t.Fatal("no commit within ten seconds")
		}
		time.Sleep(time.Millisecond)
	}
	s.Append(batch(base, connection(2, base, 1, 1)))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Rows != 2 || st.Pending != 0 || st.Written != 2 {
		t.Errorf("stats = %+v, want 2 rows written and none pending", st)
	}
}
