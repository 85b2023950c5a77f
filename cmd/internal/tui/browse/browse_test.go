package browse

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

var update = flag.Bool("update", false, "write the golden panes anew")

// now is when the tests look back.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	time.Local = time.UTC // panes show local time
	os.Exit(m.Run())
}

// connection is one of a program to a name, some hours before now.
func connection(id uint64, exe, domain, country string, hours float64) event.Connection {
	shell := &event.Process{ID: event.ProcessID{PID: 2}, Name: "bash", Executable: event.Executable{Path: "/usr/bin/bash", Kind: event.ExecutableFile}}
	opened := now.Add(-time.Duration(hours * float64(time.Hour)))
	return event.Connection{ID: id, Opened: opened, Last: opened.Add(3 * time.Second), Closed: true, Direction: event.Out, Family: event.AFInet, Proto: event.ProtoTCP,
		Process: &event.Process{ID: event.ProcessID{PID: uint32(100 + id), Start: id}, Name: filepath.Base(exe), Args: []string{exe, "--sync", domain},
			Executable: event.Executable{Path: exe, Kind: event.ExecutableFile, SHA256: event.Digest{byte(len(exe)), 2, 3}}, UID: 1000, User: "alice", Started: opened, Parent: shell},
		Local: netip.MustParseAddrPort("192.168.1.7:40000"), Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{93, 184, 216, byte(len(domain))}), 443),
		Name: event.Name{Domain: domain, Source: event.NameDNS, At: opened}, Country: country, Sent: 1000 * (1 + id%7), Received: 40_000 * (1 + id%11), Packets: 9,
		Result: event.ResultClosed, UID: 1000, User: "alice",
		Decision: event.Decision{Action: event.ActionAllow, Would: event.ActionAllow, Mode: event.ModeEnforce, Rule: "browsers", Matches: []string{"browsers"}, Revision: "r1", At: opened}}
}

// desktop is a day of a small desktop.
func desktop() (out []event.Connection) {
	id := uint64(0)
	add := func(n int, exe, domain, country string, change func(*event.Connection)) {
		for i := range n {
			id++
			c := connection(id, exe, domain, country, 0.2+float64(i)*23/float64(n))
			if change != nil {
				change(&c)
			}
			out = append(out, c)
		}
	}
	add(24, "/usr/lib/firefox/firefox", "example.org", "US", nil)
	add(12, "/usr/lib/firefox/firefox", "cdn.example.net", "DE", nil)
	add(9, "/usr/bin/syncthing", "relay.example.com", "NL", nil)
	add(4, "/usr/bin/curl", "tracker.example.net", "", func(c *event.Connection) {
		c.Result, c.Sent, c.Received = event.ResultDenied, 0, 0
		c.Decision.Action, c.Decision.Would, c.Decision.Rule, c.Decision.Matches, c.Decision.Reason = event.ActionDeny, event.ActionDeny, "no-trackers", []string{"no-trackers"}, "trackers are not wanted"
	})
	add(3, "/opt/アプリ/写真同期", "写真.example.jp", "JP", func(c *event.Connection) { c.Decision.Would = event.ActionDeny })
	return out
}

// seeded is a database with connections and alerts.
func seeded(t testing.TB, conns []event.Connection) (*query.DB, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(t.Context(), store.Config{Dir: dir, Group: -1, Run: store.Run{Version: "test", Tier: "reference", Boot: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	ordered := slices.Clone(conns)
	slices.SortStableFunc(ordered, func(a, b event.Connection) int { return a.Last.Compare(b.Last) })
	for len(ordered) > 0 { // as they happened: the sums of a minute are made of batches
		n := 1
		for n < len(ordered) && ordered[n].Last.Equal(ordered[0].Last) {
			n++
		}
		s.Append(store.Batch{Time: ordered[0].Last, Connections: ordered[:n]})
		ordered = ordered[n:]
	}
	s.Append(store.Batch{Time: now, Rules: []event.RuleCount{{Rule: "browsers", Hits: 48, Wins: 48, Last: now}, {Rule: "no-trackers", Hits: 4, Wins: 4, Denied: 4, Last: now.Add(-time.Hour)}}})
	for i := range conns {
		if c := &conns[i]; c.Decision.Action == event.ActionDeny {
			s.Append(store.Batch{Time: c.Opened, Alerts: []event.Alert{event.NewAlert(event.AlertRule, c.Decision.Rule, event.ActionDeny, c.Decision.Reason, c.Opened, c)}})
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := query.Open(t.Context(), filepath.Join(dir, schema.FileName), func(uid uint32) string { return fmt.Sprint("user", uid) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, dir
}

// stage is an interface on a screen over a real database.
type stage struct {
	t   testing.TB
	app *App
}

func newStage(t testing.TB, width, height int, conns []event.Connection) *stage {
	db, dir := seeded(t, conns)
	deps := Deps{Record: db, Alerts: db.Alerts, Program: db.Executable, Now: func() time.Time { return now },
		SetAlerts: func(ctx context.Context, ids []int64, state event.AlertState) error {
			return store.SetAlerts(ctx, dir, ids, state)
		},
		Why: func(context.Context, *event.Alert) (string, error) {
			return "deny by no-trackers\n  to.host matches\n", nil
		},
		Rules: func(ctx context.Context) ([]Rule, error) {
			counts, err := db.RuleCounts(ctx)
			out := []Rule{{ID: "browsers", Action: "allow", Mode: "enforce"}, {ID: "no-trackers", Action: "deny", Mode: "enforce",
				Reason: "trackers are not wanted", Where: "desk.yaml:9:5", Text: "id: no-trackers\naction: deny\nto:\n  host: .example.net"}, {ID: "old-printer", Action: "allow", Mode: "audit"}}
			for i := range out {
				for _, c := range counts {
					if c.Rule == out[i].ID {
						out[i].Counts = c
					}
				}
			}
			return out, err
		}}
	s := &stage{t: t, app: New(t.Context(), deps)}
	t.Cleanup(s.app.Close)
	s.app.Update(tea.WindowSizeMsg{Width: width, Height: height})
	s.run(s.app.panes[0].show(true))
	return s
}

// run runs a command and all that follows from it, as bubbletea does.
func (s *stage) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			s.run(c)
		}
	default:
		_, next := s.app.Update(msg)
		s.run(next)
	}
}

func (s *stage) press(keys ...string) {
	for _, k := range keys {
		_, cmd := s.app.Update(keyPress(k))
		s.run(cmd)
	}
}

func keyPress(k string) tea.KeyPressMsg {
	special := map[string]rune{"enter": tea.KeyEnter, "backspace": tea.KeyBackspace, "esc": tea.KeyEscape, "down": tea.KeyDown, "up": tea.KeyUp,
		"right": tea.KeyRight, "left": tea.KeyLeft, "end": tea.KeyEnd, "tab": tea.KeyTab, "pgdown": tea.KeyPgDown}
	if code, ok := special[k]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Text: k, Code: []rune(k)[0]}
}

func (s *stage) typed(text string) {
	for _, r := range text {
		s.press(string(r))
	}
}

func (s *stage) pane() string {
	var b strings.Builder
	for line := range strings.Lines(ansi.Strip(s.app.View().Content)) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

func (s *stage) golden(name string) {
	s.t.Helper()
	file := filepath.Join("testdata", name+".txt")
	got := s.pane()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(got, string(want)); diff != "" {
		s.t.Errorf("%s: got (-), want (+):\n%s", name, diff)
	}
}

func (s *stage) check() {
	s.t.Helper()
	lines := strings.Split(s.app.View().Content, "\n")
	if len(lines) != s.app.height {
		s.t.Fatalf("%d lines, want %d", len(lines), s.app.height)
	}
	for _, line := range lines {
		plain := ansi.Strip(line)
		for _, r := range plain {
			if !unicode.IsPrint(r) {
				s.t.Fatalf("unprintable %U in %q", r, plain)
			}
		}
		if a, b := ansi.StringWidth(plain), ansi.StringWidthWc(plain); a != s.app.width || b != s.app.width {
			s.t.Fatalf("width %d or %d, want %d: %q", a, b, s.app.width, plain)
		}
	}
}

// TestPanes walks through the tabs over a real database.
func TestPanes(t *testing.T) {
	s := newStage(t, 120, 24, desktop())
	s.golden("programs")
	s.press("enter")
	s.golden("drilled")
	s.press("down", "e")
	s.golden("excluded")
	s.press("backspace", "backspace", "v")
	s.typed("time")
	s.press("enter")
	s.golden("time")
	s.press("2")
	s.golden("connections")
	s.press("enter")
	s.golden("connection")
	s.press("esc", "3")
	s.golden("alerts")
	s.press("enter")
	s.golden("why")
	s.press("a")
	s.golden("acknowledged")
	s.press("4")
	s.golden("policy")
	s.press("down", "enter")
	s.golden("rule")
	s.press("esc", "1", "?")
	s.golden("help")
	s.press("?", "v")
	s.typed("exe")
	s.press("enter", "i")
	for _, want := range []string{"1802030000", "started by", "bash", "--sync cdn.example.net"} {
		if !strings.Contains(s.pane(), want) {
			t.Errorf("about the program: no %q:\n%s", want, s.pane())
		}
	}
	s.press("esc")
	s.app.Update(tea.WindowSizeMsg{Width: 40, Height: 10})
	s.golden("small")
}
