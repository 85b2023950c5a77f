package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"snitch/bpf/bpftest"
	"snitch/cmd/internal/control"
	"snitch/monitor/event"
	"snitch/monitor/notify/notifytest"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// TestMain makes the test binary snitch when it is started under that name: by
// the stories, and by snitch itself for its broker and helpers.
func TestMain(m *testing.M) {
	commands := notifytest.Commands()
	maps.Copy(commands, map[string]func(){
		"snitch": main,
		"talk":   func() { os.Exit(talk(os.Args[1:])) },
		"hold":   func() { os.Exit(hold()) },
		"dial":   func() { os.Exit(dial(os.Args[1:])) },
		"probe":  func() { os.Exit(probe(os.Args[1:])) },
	})
	testscript.Main(m, commands)
}

// TestStories runs testdata/*.txtar, one story of a user each.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"seed":        seed,
			"makekeys":    makeKeys,
			"serveplaces": servePlaces,
			"waitrun":     waitRun,
			"waitlive":    waitLive,
			"waitlog":     waitLog,
			"waitcount":   waitCount,
			"waitpolicy":  waitPolicy,
			"waitalert":   waitAlert,
			"hostile":     hostile,
		},
		Setup: func(env *testscript.Env) error {
			// Daemons that are to see exact traffic watch a cgroup of their own: the
			// machine is not theirs alone.
			group, err := bpftest.OpenCgroup()
			if err != nil {
				return err
			}
			env.Defer(func() {
				if err := group.Close(); err != nil {
					t.Errorf("remove cgroup: %v", err)
				}
			})
			env.Setenv(groupVariable, group.Dir())
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			return nil
		},
	})
}

// seed writes a database: seed DIR.
func seed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: seed DIR")
	}
	ts.Check(seedDatabase(ts.MkAbs(args[0])))
}

// The records of the seeded database. The last one is as hostile as a process
// can make it.
func seeded() []event.Connection {
	at := time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC)
	bash := &event.Process{ID: event.ProcessID{PID: 10, Exec: 1, Start: 1}, Name: "bash", Args: []string{"bash"},
		Executable: event.Executable{Path: "/usr/bin/bash", Kind: event.ExecutableFile, Reason: event.HashUnreadable}}
	curl := &event.Process{ID: event.ProcessID{PID: 11, Exec: 2, Start: 2}, Name: "curl", Args: []string{"curl", "https://example.org"}, Parent: bash,
		Executable: event.Executable{Path: "/usr/bin/curl", Kind: event.ExecutableFile, SHA256: event.Digest{0xab, 0xcd}, Reason: event.HashKnown}}
	evil := &event.Process{ID: event.ProcessID{PID: 12, Exec: 3, Start: 3}, Name: "a\x1b[2Jb", Args: []string{"\u202egpj.exe", "\x07\u009b31m"}, Parent: curl,
		Executable: event.Executable{Path: "/tmp/\x1b]0;pwned\x07\u202ex\nfake line", Kind: event.ExecutableFile, Reason: event.HashVanished}}
	connection := func(id uint64, p *event.Process, minutes int, remote string, sent, received uint64) event.Connection {
		opened := at.Add(time.Duration(minutes) * time.Minute)
		return event.Connection{ID: id, Process: p, Opened: opened, Last: opened.Add(time.Second), Direction: event.Out, Family: event.AFInet, Proto: event.ProtoTCP,
			Local: netip.MustParseAddrPort("192.0.2.7:40000"), Remote: netip.MustParseAddrPort(remote), Sent: sent, Received: received,
			Packets: 2, Result: event.ResultClosed, Closed: true, Decision: event.Decision{Mode: event.ModeAudit}}
	}
	out := []event.Connection{connection(1, curl, 0, "198.51.100.1:443", 1200, 3_400_000), connection(2, curl, 1, "198.51.100.2:80", 10, 0), connection(3, evil, 2, "203.0.113.9:6667", 7, 8)}
	out[0].Name = event.Name{Domain: "example.org", Source: event.NameDNS, At: at}
	out[1].Result = event.ResultRefused
	out[2].Name = event.Name{Domain: "evil.example", Source: event.NameReverse, At: at}
	return out
}

func seedDatabase(dir string) error {
	s, err := store.Open(context.Background(), store.Config{Dir: dir, Group: -1, Run: store.Run{Version: "test", Tier: "reference", Boot: "b"}})
	if err != nil {
		return err
	}
	s.Append(store.Batch{Time: time.Now(), Connections: seeded()})
	return errors.Join(s.Flush(context.Background()), s.Close())
}

// waitRun waits until a daemon answers: waitrun DIR. Negated, until none does.
func waitRun(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: waitrun DIR")
	}
	client := control.NewClient(ts.MkAbs(args[0]))
	var err error
	for range 300 {
		if _, err = client.Status(context.Background()); (err == nil) != neg {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("status of the daemon: %v", err)
}

// waitLive waits until so many clients follow: waitlive DIR N.
func waitLive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitlive DIR N")
	}
	client := control.NewClient(ts.MkAbs(args[0]))
	for range 400 {
		if st, err := client.Status(context.Background()); err == nil && strconv.Itoa(st.Live.Clients) == args[1] {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("not %s clients", args[1])
}

// waitLog waits until the log has a row that passes: waitlog DIR FILTER…
func waitLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitlog DIR FILTER…")
	}
	dir := ts.MkAbs(args[0])
	opts := LogOptions{recordOptions: recordOptions{State: dir}, Limit: 1}
	q, err := opts.question(time.Now(), args[1:])
	ts.Check(err)
	client := control.NewClient(dir)
	for range 200 {
		found := false
		ts.Check(client.Flush(context.Background()))
		ts.Check(stored(context.Background(), filepath.Join(dir, schema.FileName), q, func(*event.Record) error { found = true; return nil }))
		if found {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("no row passes %q", args[1:])
}

// waitCount waits until the log has exactly so many rows that pass: waitcount
// DIR N FILTER…
func waitCount(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: waitcount DIR N FILTER…")
	}
	dir := ts.MkAbs(args[0])
	q, err := (&LogOptions{recordOptions: recordOptions{State: dir}}).question(time.Now(), args[2:])
	ts.Check(err)
	client := control.NewClient(dir)
	var found []string
	for range 200 {
		found = nil
		ts.Check(client.Flush(context.Background()))
		ts.Check(stored(context.Background(), filepath.Join(dir, schema.FileName), q, func(r *event.Record) error {
			found = append(found, fmt.Sprintf("%s %s%s, %s by %q, provisional %t, new: %q", r.Direction, r.ExeView, r.Exe, r.Would, r.Rule, r.Provisional, r.Novelty))
			return nil
		}))
		if strconv.Itoa(len(found)) == args[1] {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%d rows pass %q:\n%s", len(found), args[2:], strings.Join(found, "\n"))
}

// waitPolicy waits for a state of the rules: waitpolicy DIR error TEXT,
// waitpolicy DIR degraded TEXT, waitpolicy DIR rules N or packages N.
func waitPolicy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: waitpolicy DIR error|degraded|rules|packages VALUE")
	}
	var last control.Policy
	client := control.NewClient(ts.MkAbs(args[0]))
	for range 300 {
		st, err := client.Status(context.Background())
		last = st.Policy
		switch {
		case err != nil:
		case args[1] == "error" && strings.Contains(last.Error, args[2]),
			args[1] == "packages" && strconv.Itoa(last.Packages) == args[2],
			args[1] == "degraded" && strings.Contains(strings.Join(last.Degraded, "\n"), args[2]), args[1] == "rules" && strconv.Itoa(last.Rules) == args[2]:
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("the rules are %+v", last)
}

// waitAlert waits for an alert of a rule: waitalert DIR RULE.
func waitAlert(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitalert DIR RULE")
	}
	dir := ts.MkAbs(args[0])
	client := control.NewClient(dir)
	for range 1200 {
		ts.Check(client.Flush(context.Background()))
		db, err := query.Open(context.Background(), filepath.Join(dir, schema.FileName), nil)
		ts.Check(err)
		list, err := db.Alerts(context.Background(), query.AlertQuery{})
		ts.Check(errors.Join(err, db.Close()))
		if slices.ContainsFunc(list, func(a event.Alert) bool { return a.Rule == args[1] }) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("no alert of %s", args[1])
}

// hostile fails when the last output has anything that moves a terminal.
func hostile(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		for _, r := range ts.ReadFile(name) {
			if r != '\n' && (r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u202e') {
				ts.Fatalf("%s has %U", name, r)
			}
		}
	}
}

// groupVariable names the cgroup that talk joins.
const groupVariable = "TALK_CGROUP"

// joinGroup joins the cgroup that the environment names.
func joinGroup() error {
	group := os.Getenv(groupVariable)
	if group == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0)
}

// lingerVariable is how long talk stays: of a program that is gone before a
// busy machine's daemon looks at it there is neither a digest nor a path that
// was compared.
const lingerVariable = "TALK_LINGER"

// talk moves an exact number of bytes over loopback TCP and tells where: talk
// SENT RECEIVED.
func talk(args []string) int {
	var sent, received int
	if _, err := fmt.Sscan(strings.Join(args, " "), &sent, &received); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	if linger, err := time.ParseDuration(os.Getenv(lingerVariable)); err == nil {
		defer time.Sleep(linger)
	}
	if err := joinGroup(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitNo
	}
	port, err := exchange(sent, received)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitNo
	}
	fmt.Println(port)
	return exitDone
}

// hold keeps a connection to itself open until its standard input ends.
func hold() int {
	err := joinGroup()
	if err == nil {
		err = holdOne()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitNo
	}
	return exitDone
}

func holdOne() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	conn, err := net.Dial("tcp4", l.Addr().String()) // the kernel accepts by itself
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, conn.Close())
}

// exchange is one connection to itself; port is that of the listener.
func exchange(sent, received int) (port int, err error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.CopyN(io.Discard, conn, int64(sent))
		}
		if err == nil {
			_, err = conn.Write(make([]byte, received))
		}
		if conn != nil {
			err = errors.Join(err, conn.Close())
		}
		served <- err
	}()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return 0, err
	}
	_, err = conn.Write(make([]byte, sent))
	if err == nil {
		_, err = io.Copy(io.Discard, conn)
	}
	return l.Addr().(*net.TCPAddr).Port, errors.Join(err, conn.Close(), <-served)
}

// tempState is a state directory that others may not write to.
func tempState(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "state")
}
