package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"snitch/cmd/internal/config"
	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/policy"
	"snitch/policy/bundle"
	"snitch/policy/history"
	"snitch/policy/rule"
)

// TestHistoryStories runs testdata/history/*.txtar: what a user does with the
// record of a machine that decided by rules.
func TestHistoryStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "history"),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"decided": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 {
					ts.Fatalf("usage: decided STATE RULES")
				}
				ts.Check(decidedDatabase(ts.MkAbs(args[0]), ts.MkAbs(args[1]), machine()))
			},
			"hostile": hostile,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TZ", "UTC")
			return nil
		},
	})
}

// decidedDatabase records connections as the daemon does: novelty, decision by
// the engine, rows, alerts, counts and the rules themselves.
func decidedDatabase(dir, rules string, conns []event.Connection) (err error) {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Dir: dir, Group: -1, Run: store.Run{Version: "test", Tier: "reference", Boot: "b"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	snapshot, err := bundle.Directory{Path: rules}.Read()
	if err != nil {
		return err
	}
	p, err := compile(ctx, snapshot, config.Rules{}, func(s *rule.Set) (*rule.Set, error) { return s, nil }, policy.Options{})
	if err != nil {
		return err
	}
	var files []store.RuleFile
	for _, f := range snapshot.Files {
		files = append(files, store.RuleFile{Path: f.Path, Data: f.Data})
	}
	if err := s.PutRuleSet(p.Set.Revision, files); err != nil {
		return err
	}
	engine := policy.New(policy.Config{Mode: event.ModeAudit}, policy.Deps{History: s, Now: func() time.Time { return time.Date(2026, 7, 2, 8, 0, 0, 0, time.UTC) }})
	engine.Use(p)
	defer engine.Close()
	for len(conns) > 0 {
		n := min(len(conns), 4000)
		batch := conns[:n:n]
		conns = conns[n:]
		for rest := batch; len(rest) > 0; { // OPA may take a part of the time only
			out := engine.Batch(ctx, rest)
			s.Append(store.Batch{Time: rest[0].Opened, Connections: rest, Alerts: out.Alerts, Rules: out.Counts})
			if rest = nil; engine.Stats().Late > 0 {
				time.Sleep(10 * time.Millisecond)
				rest = batch
			}
		}
		if err := s.Flush(ctx); err != nil { // memory for waiting rows is bounded
			return err
		}
	}
	return s.Flush(ctx)
}

// machine is what one machine did on a day.
func machine() []event.Connection {
	day := time.Date(2026, 7, 1, 8, 0, 0, 0, time.UTC)
	init := &event.Process{ID: event.ProcessID{PID: 1, Start: 1}, Name: "systemd", User: "root", Args: []string{"/sbin/init"}, Cgroup: event.Cgroup{Path: "/init.scope", Unit: "init.scope"},
		Executable: event.Executable{Path: "/usr/lib/systemd/systemd", Kind: event.ExecutableFile, SHA256: event.Digest{1}, Package: "systemd"}}
	session := event.Cgroup{Path: "/user.slice/user-1000.slice/session-2.scope", Unit: "session-2.scope"}
	shell := &event.Process{ID: event.ProcessID{PID: 50, Start: 2}, Name: "bash", User: "alice", UID: 1000, Args: []string{"-bash"}, Cgroup: session, Parent: init,
		Executable: event.Executable{Path: "/usr/bin/bash", Kind: event.ExecutableFile, SHA256: event.Digest{2}, Package: "bash"}}
	pid := uint32(100)
	program := func(path, pkg, user string, uid uint32, g event.Cgroup, parent *event.Process) *event.Process {
		pid++
		return &event.Process{ID: event.ProcessID{PID: pid, Start: uint64(pid)}, Name: filepath.Base(path)[:min(15, len(filepath.Base(path)))], User: user, UID: uid,
			Args: []string{path}, Cgroup: g, Parent: parent,
			Executable: event.Executable{Path: path, Kind: event.ExecutableFile, SHA256: event.Digest{byte(pid), byte(len(path))}, Package: pkg}}
	}
	service := func(name string) event.Cgroup {
		return event.Cgroup{Path: "/system.slice/" + name, Unit: name}
	}
	worker := func(version string) *event.Process {
		return program("/opt/runner/"+version+"/bin/Worker", "none", "ci", 1001, service("runner@7.service"), init)
	}
	curl, resolved := program("/usr/bin/curl", "curl", "alice", 1000, session, shell), program("/usr/lib/systemd/systemd-resolved", "systemd", "systemd-resolve", 101, service("systemd-resolved.service"), init)
	nginx := program("/usr/sbin/nginx", "nginx", "www-data", 33, service("nginx.service"), init)
	script := program("/usr/bin/python3.12", "python3.12-minimal", "alice", 1000, session, shell)
	script.Script = &event.Script{Path: "/home/alice/bin/sync.py", SHA256: event.Digest{9}}
	gone := program("/tmp/x", "", "alice", 1000, session, shell)
	gone.Executable.Kind = event.ExecutableDeleted
	patched := program("/usr/bin/wget", "modified:wget", "alice", 1000, session, shell)
	git := []*event.Process{program("/usr/bin/git", "git", "ci", 1001, session, worker("2.3")), program("/usr/bin/git", "git", "ci", 1001, session, worker("2.4.1"))}

	var out []event.Connection
	add := func(p *event.Process, name, remote string, sent uint64) *event.Connection {
		id := uint64(len(out) + 1)
		at := day.Add(time.Duration(id) * time.Minute)
		c := event.Connection{ID: id, Process: p, Opened: at, Last: at.Add(time.Second), Direction: event.Out, Family: event.AFInet, Proto: event.ProtoTCP,
			Local: netip.AddrPortFrom(netip.MustParseAddr("192.168.1.7"), uint16(40000+id)), Remote: netip.MustParseAddrPort(remote), Sent: sent, Received: 10 * sent,
			Packets: 2, Result: event.ResultClosed, Closed: true, UID: p.UID, User: p.User, Cgroup: p.Cgroup}
		if name != "" {
			c.Name = event.Name{Domain: name, Source: event.NameDNS, At: at, Trusted: true}
			c.Names = []event.Name{c.Name}
		}
		out = append(out, c)
		return &out[len(out)-1]
	}
	for i := range 4 {
		add(git[i%2], "github.com", "140.82.112.5:443", 500)
		add(git[i%2], "api.github.com", "140.82.112.6:443", 100)
		add(git[i%2], "codeload.github.com", "140.82.112.7:443", 900)
		add(curl, fmt.Sprint("host", i%2, ".example.org"), "93.184.216.34:443", 10)
		add(resolved, "", "9.9.9.9:53", 40).Proto = event.ProtoUDP
		add(script, "", fmt.Sprint("203.0.113.", i+1, ":8080"), 7)
	}
	add(resolved, "", "9.9.9.9:53", 60)
	add(gone, "", "198.51.100.66:6667", 1)
	add(patched, "mirror.example.net", "198.51.100.7:80", 1)
	listen := add(nginx, "", "0.0.0.0:0", 0)
	listen.Direction, listen.Local, listen.Remote, listen.Result, listen.Closed = event.Listen, netip.MustParseAddrPort("0.0.0.0:443"), netip.AddrPort{}, event.ResultListening, false
	for i := range 3 {
		in := add(nginx, "", fmt.Sprint("198.51.100.", i+10, ":5", i, "000"), 1000)
		in.Direction, in.Local = event.In, netip.MustParseAddrPort("192.168.1.7:443")
	}
	return out
}

// BenchmarkHistory replays and learns from a record of a million rows: set
// SNITCH_BENCH_ROWS for another number of rows.
func BenchmarkHistory(b *testing.B) {
	rows := 1_000_000
	if s := os.Getenv("SNITCH_BENCH_ROWS"); s != "" {
		if _, err := fmt.Sscan(s, &rows); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	rules := filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rules, "a.yaml"), benchRules(), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := decidedDatabase(filepath.Join(dir, "state"), rules, busy(rows)); err != nil {
		b.Fatal(err)
	}
	opts := HistoryOptions{State: filepath.Join(dir, "state")}
	for name, f := range map[string]func(*recordedRows) (uint64, int, error){
		"replay": func(s *recordedRows) (uint64, int, error) {
			recorded, err := s.rules(b.Context())
			if err != nil {
				return 0, 0, err
			}
			r, err := history.Replay(b.Context(), s, recorded, nil)
			if err != nil {
				return 0, 0, err
			}
			return r.Same.Connections, r.Decided, nil
		},
		"diff": func(s *recordedRows) (uint64, int, error) {
			var sides [2]*history.Policy
			for i := range sides {
				var err error
				if _, sides[i], err = candidate(b.Context(), stdio{out: io.Discard, err: io.Discard}, rules); err != nil {
					return 0, 0, err
				}
			}
			r, err := history.Compare(b.Context(), s, sides[0], sides[1], nil)
			if err != nil {
				return 0, 0, err
			}
			return r.Same.Connections, r.Decided, nil
		},
		"learn": func(s *recordedRows) (uint64, int, error) {
			d, err := history.Learn(b.Context(), s, history.LearnOptions{Confine: true}, nil)
			if err != nil {
				return 0, 0, err
			}
			return d.Rows.Connections, len(d.Set.Rules), nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := opts.open(b.Context(), nil)
				if err != nil {
					b.Fatal(err)
				}
				began := time.Now()
				same, decided, err := f(s)
				if err != nil || same != uint64(rows) {
					b.Fatalf("%d of %d rows (%v)", same, rows, err)
				}
				b.ReportMetric(float64(rows)/time.Since(began).Seconds(), "rows/s")
				b.ReportMetric(float64(decided), "decided")
				if err := s.db.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchRules are a thousand rules of a team.
func benchRules() []byte {
	out := []byte("version: 1\nrules:\n")
	for i := range 1000 {
		action := []string{"allow", "alert", "deny"}[i%3]
		out = fmt.Appendf(out, "  - id: rule-%d\n    action: %s\n    process: {exe: /usr/bin/program-%d, parent: {exe: /usr/bin/bash}}\n    to: {host: [.host%d.example.org, 93.184.%d.0/24], port: 443}\n",
			i, action, i%200, i%500, i%250)
	}
	return out
}

// busy makes n connections of 200 programs to 2,000 names.
func busy(n int) []event.Connection {
	day := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	shell := &event.Process{Name: "bash", Executable: event.Executable{Path: "/usr/bin/bash", Kind: event.ExecutableFile, SHA256: event.Digest{2}}}
	programs := make([]*event.Process, 200)
	for i := range programs {
		programs[i] = &event.Process{ID: event.ProcessID{PID: uint32(i + 10)}, Name: fmt.Sprint("p", i), Args: []string{"x"}, Parent: shell,
			Executable: event.Executable{Path: fmt.Sprint("/usr/bin/program-", i), Kind: event.ExecutableFile, SHA256: event.Digest{byte(i), 7}}}
	}
	out := make([]event.Connection, n)
	for i := range out {
		peer := i * 7919 % 2000
		at := day.Add(time.Duration(i) * 10 * time.Millisecond)
		c := event.Connection{ID: uint64(i + 1), Process: programs[i*31%200], Opened: at, Last: at.Add(time.Second), Direction: event.Out, Family: event.AFInet,
			Proto: event.ProtoTCP, Local: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 2}), uint16(30000+i%30000)),
			Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{93, 184, byte(peer >> 8), byte(peer)}), 443), Sent: 500, Received: 4000,
			Result: event.ResultClosed, Closed: true}
		c.Name = event.Name{Domain: fmt.Sprintf("a%d.host%d.example.org", peer%4, peer/4), Source: event.NameDNS, At: at, Trusted: true}
		c.Names = []event.Name{c.Name}
		out[i] = c
	}
	return out
}
