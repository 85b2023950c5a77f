package query_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// These are set in the environment of a child that reads without rights, and
// of one that writes and is killed.
const (
	readPath = "SNITCH_TEST_READ_PATH"
	writeDir = "SNITCH_TEST_WRITE_DIR"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(readPath); path != "" {
		db, err := query.Open(context.Background(), path, nil)
		if err == nil {
			err = db.Connections(context.Background(), query.Query{}, func(r event.Record) error {
				_, err := fmt.Println(r.Sent)
				return err
			})
		}
		if err != nil {
			fmt.Println(err)
		}
		os.Exit(0)
	}
	if dir := os.Getenv(writeDir); dir != "" {
		fmt.Fprintln(os.Stderr, write(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// conn makes a plain connection.
func conn(id uint64, at time.Time) event.Connection {
	return event.Connection{ID: id, Opened: at, Last: at.Add(time.Second), Direction: event.Out, Family: event.AFInet, Proto: event.ProtoTCP,
		Local: netip.MustParseAddrPort("10.0.0.2:40000"), Remote: netip.MustParseAddrPort("192.0.2.1:443"), Sent: id, UID: 1000,
		Name: event.Name{Domain: "example.org", Source: event.NameDNS}, Country: "DE", Result: event.ResultClosed, Closed: true,
		Cgroup: event.Cgroup{Path: "/a", Unit: "a.service"}, Decision: event.Decision{Action: event.ActionAlert, Rule: "r1"},
		Process: &event.Process{ID: event.ProcessID{PID: 5}, Name: "curl", Args: []string{"curl"},
			Executable: event.Executable{Path: "/usr/bin/curl", View: "mnt:7", Kind: event.ExecutableFile, SHA256: event.Digest{1}},
			Parent:     &event.Process{Name: "sh", Executable: event.Executable{Path: "/bin/sh", Kind: event.ExecutableFile, SHA256: event.Digest{2}}}}}
}

// TestGroupReader: a member of the group who may only read the three files
// reads while the daemon writes, after it ended, and after it was killed.
func TestGroupReader(t *testing.T) {
	bpftest.Need(t, &bpftest.Feature{Name: "setuid", Probe: func() error {
		if os.Geteuid() != 0 {
			return errors.New("becoming another user needs root")
		}
		return nil
	}})
	const uid, gid = 65533, 65532
	dir := filepath.Join(openDir(t), "state")
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Group: gid})
	if err != nil {
		t.Fatal(err)
	}
	read := func(gid uint32) string {
		cmd := exec.Command(copyOfSelf(t))
		cmd.Env = []string{readPath + "=" + filepath.Join(dir, schema.FileName)}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(strings.ReplaceAll(string(out), "\n", " "))
	}
	add := func(id uint64) {
		s.Append(store.Batch{Time: time.Unix(1000, 0), Connections: []event.Connection{conn(id, time.Unix(1000+int64(id), 0))}})
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	if got := read(gid); got != "1" {
		t.Errorf("while the daemon runs: %q, want 1", got)
	}
	add(2)
	if got := read(gid); got != "1 2" {
		t.Errorf("after another commit: %q, want 1 2", got)
	}
	if got := read(gid + 1); !strings.Contains(got, query.ErrNotReadable.Error()) {
		t.Errorf("without the group: %q, want %q", got, query.ErrNotReadable)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(gid); got != "1 2" {
		t.Errorf("after the daemon ended: %q, want 1 2", got)
	}
	writeAndDie(t, dir, gid)
	if got := read(gid); got != "1 2 3" {
		t.Errorf("after the daemon was killed: %q, want 1 2 3", got)
	}
}

// writeAndDie lets a child write connection 3 and kills it.
func writeAndDie(t *testing.T, dir string, gid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{writeDir + "=" + dir, fmt.Sprintf("GID=%d", gid)}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
}

// write is the child of writeAndDie.
func write(dir string) error {
	gid, err := strconv.Atoi(os.Getenv("GID"))
	if err != nil {
		return err
	}
	s, err := store.Open(context.Background(), store.Config{Dir: dir, Group: gid})
	if err != nil {
		return err
	}
	s.Append(store.Batch{Time: time.Unix(1000, 0), Connections: []event.Connection{conn(3, time.Unix(1003, 0))}})
	if err := s.Flush(context.Background()); err != nil {
		return err
	}
	fmt.Println("written")
	select {}
}

// openDir is a temporary directory that other users may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "snitch-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyOfSelf is this test program where other users may run it.
func copyOfSelf(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(openDir(t), "self")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, schema.FileName)
	check := func(want error) {
		t.Helper()
		db, err := query.Open(t.Context(), path, nil)
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
		if err == nil {
			closeDB(t, db)
		}
	}
	check(query.ErrNotThere)
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	check(query.ErrNotThere)
	if err := os.WriteFile(path, []byte(strings.Repeat("garbage ", 1000)), 0o640); err != nil {
		t.Fatal(err)
	}
	check(query.ErrDamaged)
}

// TestOrderAndLimit goes through more rows than a chunk holds, both ways.
func TestOrderAndLimit(t *testing.T) {
	conns := make([]event.Connection, 1000)
	for i := range conns {
		conns[i] = conn(uint64(i+1), time.Unix(int64(1000+i/3), 0)) // some began at once
	}
	db := written(t, t.TempDir(), conns)
	defer closeDB(t, db)
	for _, tc := range []struct {
		q           query.Query
		n           int
		first, last uint64
	}{
		{query.Query{}, 1000, 1, 1000},
		{query.Query{Order: query.NewestFirst}, 1000, 1000, 1},
		{query.Query{Limit: 10}, 10, 1, 10},
		{query.Query{Limit: 600, Order: query.NewestFirst}, 600, 1000, 401},
		{query.Query{Since: time.Unix(1010, 1), Until: time.Unix(1020, 0)}, 30, 31, 60},
		{query.Query{Since: time.Unix(1010, 1), Until: time.Unix(1020, 0), Order: query.NewestFirst}, 30, 60, 31},
		{query.Query{Since: time.Unix(5000, 0)}, 0, 0, 0},
	} {
		got := selected(t, db, tc.q)
		if len(got) != tc.n {
			t.Errorf("%+v: %d records, want %d", tc.q, len(got), tc.n)
			continue
		}
		if tc.n > 0 && (got[0].Sent != tc.first || got[tc.n-1].Sent != tc.last) {
			t.Errorf("%+v: from %d to %d, want %d to %d", tc.q, got[0].Sent, got[tc.n-1].Sent, tc.first, tc.last)
		}
		for i := 1; i < len(got); i++ {
			if (got[i].Sent > got[i-1].Sent) == (tc.q.Order == query.NewestFirst) {
				t.Fatalf("%+v: %d follows %d", tc.q, got[i].Sent, got[i-1].Sent)
			}
		}
	}
	stop := errors.New("enough")
	n := 0
	if err := db.Connections(t.Context(), query.Query{}, func(event.Record) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("an error of the caller: %v after %d records", err, n)
	}
}

// TestNewFile: a DB that stays open follows the daemon to a new file.
func TestNewFile(t *testing.T) {
	dir := t.TempDir()
	db := written(t, dir, []event.Connection{conn(1, time.Unix(1000, 0))})
	defer closeDB(t, db)
	if got := selected(t, db, query.Query{}); len(got) != 1 || got[0].Sent != 1 {
		t.Fatalf("got %+v", got)
	}
	if err := os.Remove(filepath.Join(dir, schema.FileName)); err != nil {
		t.Fatal(err)
	}
	closeDB(t, written(t, dir, []event.Connection{conn(2, time.Unix(1000, 0))}))
	if got := selected(t, db, query.Query{}); len(got) != 1 || got[0].Sent != 2 {
		t.Fatalf("got %+v from the new file", got)
	}
}

func TestRunsLossesExecs(t *testing.T) {
	dir := t.TempDir()
	at := time.Unix(1000, 0).UTC()
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Group: -1, Now: func() time.Time { return at },
		Run: store.Run{Version: "1.2", Tier: "reference", Boot: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	c := conn(1, at)
	p := c.Process
	p.UID = 1000
	b := store.Batch{Time: at, Losses: []event.Loss{{Time: at, Cause: event.LossHash, Count: 2, Process: p, Detail: "x"}, {Time: at.Add(1), Cause: event.LossRingFull, Count: 3, Sent: 4}}}
	for i := range 600 {
		b.Execs = append(b.Execs, event.ExecSeen{Time: at.Add(time.Duration(i)), Process: p})
	}
	s.Append(b)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, dir)
	defer closeDB(t, db)
	runs, err := db.Runs(t.Context())
	if err != nil || len(runs) != 1 || runs[0] != (query.Run{ID: 1, Started: at, Stopped: at, Clean: true, Version: "1.2", Tier: "reference", Boot: "x"}) {
		t.Errorf("runs = %+v, %v", runs, err)
	}
	losses, err := db.Losses(t.Context(), at, at.Add(time.Hour), 0)
	if err != nil || len(losses) != 2 || losses[0].Cause != "hash" || losses[0].Count != 2 || losses[0].Process.Exe != "/usr/bin/curl" ||
		losses[1].Sent != 4 || losses[1].Process != nil {
		t.Errorf("losses = %+v, %v", losses, err)
	}
	n := 0
	fs, err := query.Parse([]string{"user=bob", "parent.exe=/bin/sh"})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Execs(t.Context(), query.Query{Filters: fs, Limit: 599}, func(e query.Exec) error {
		if !e.Time.Equal(at.Add(time.Duration(n))) || e.Exe != "/usr/bin/curl" || e.User != "bob" {
			t.Fatalf("exec %d = %+v", n, e)
		}
		n++
		return nil
	})
	if err != nil || n != 599 {
		t.Errorf("%d execs, %v, want 599", n, err)
	}
}

// TestSince: what was active since a time is found however long before it
// began, in either order, in pieces, and nothing else.
func TestSince(t *testing.T) {
	base := time.Unix(100_000, 0)
	durations := []time.Duration{0, time.Minute, schema.LongConnection - 1, schema.LongConnection, schema.LongConnection + 1, time.Hour, 24 * time.Hour}
	conns := make([]event.Connection, 700)
	for i := range conns {
		conns[i] = conn(uint64(i+1), base.Add(time.Duration(i)*30*time.Second))
		conns[i].Last = conns[i].Opened.Add(durations[i%len(durations)])
	}
	db := written(t, t.TempDir(), conns)
	defer closeDB(t, db)
	for _, since := range []time.Duration{-time.Hour, 0, time.Second, 10 * time.Minute, time.Hour, 5 * time.Hour, 29 * time.Hour, 31 * time.Hour} {
		for _, until := range []time.Duration{0, 2 * time.Minute, 3 * time.Hour} {
			q := query.Query{Since: base.Add(since)}
			if until != 0 {
				q.Until = base.Add(until)
			}
			var want []uint64
			for _, c := range conns {
				if !c.Last.Before(q.Since) && (until == 0 || c.Opened.Before(q.Until)) {
					want = append(want, c.Sent)
				}
			}
			check := func(q query.Query, want []uint64) {
				t.Helper()
				var got []uint64
				for _, r := range selected(t, db, q) {
					got = append(got, r.Sent)
				}
				if !slices.Equal(got, want) {
					t.Errorf("since %v until %v limit %d order %d: %d rows, want %d", since, until, q.Limit, q.Order, len(got), len(want))
				}
			}
			check(q, want)
			limited := q
			limited.Limit = 5
			check(limited, want[:min(5, len(want))])
			slices.Reverse(want)
			q.Order = query.NewestFirst
			check(q, want)
		}
	}
}
