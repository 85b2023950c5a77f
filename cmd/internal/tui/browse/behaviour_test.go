package browse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

func (s *stage) keysOf() (out []string) {
	for i := range s.app.history.groups.Rows {
		out = append(out, s.app.history.groups.Rows[i].Keys[0])
	}
	return out
}

// TestDrillDown goes down to a connection and all the way back.
func TestDrillDown(t *testing.T) {
	s := newStage(t, 120, 30, desktop())
	s.press("enter") // firefox: its domains
	if got := s.keysOf(); !slices.Equal(got, []string{"example.org", "cdn.example.net"}) {
		t.Fatalf("domains of the first program: %v", got)
	}
	s.press("down", "enter") // cdn.example.net: its connections are next, or addresses
	for range 3 {
		if s.app.tab == connectionsTab {
			break
		}
		s.press("enter")
	}
	rows := s.app.panes[connectionsTab].(*connectionsPane).rows
	if s.app.tab != connectionsTab || len(rows) != 12 || rows[0].Domain != "cdn.example.net" {
		t.Fatalf("at the bottom: tab %d, %d connections", s.app.tab, len(rows))
	}
	for len(s.app.scope.stack.Texts()) > 0 {
		s.press("backspace")
	}
	if s.app.tab != historyTab || s.app.history.field() != "exe" || len(s.keysOf()) != 4 {
		t.Errorf("back at the top: tab %d, %s, %v", s.app.tab, s.app.history.field(), s.keysOf())
	}
	s.press("backspace") // nothing more to take off
}

func TestEveryView(t *testing.T) {
	s := newStage(t, 100, 24, desktop())
	first := s.app.history.field()
	for range s.app.history.views {
		if err := s.app.history.asked.err; err != nil {
			t.Errorf("%s: %v", s.app.history.field(), err)
		}
		s.check()
		field := s.app.history.field()
		if s.app.history.table.Len() > 0 && field != query.ByTime {
			s.press("f")
			if s.app.history.asked.err != nil || s.app.history.table.Len() == 0 {
				t.Errorf("filter by a row of %s: %d rows, %v, %v", field, s.app.history.table.Len(), s.app.scope.stack.Texts(), s.app.history.asked.err)
			}
			s.press("backspace")
		}
		s.press("right")
	}
	if s.app.history.field() != first {
		t.Errorf("once round ends at %s, began at %s", s.app.history.field(), first)
	}
	for _, want := range []string{"exe", "parent.exe", "grandparent.exe", "domain", "country", "user", "rule", "time", "sha256", "cmdline", "name"} {
		if !slices.Contains(s.app.history.views, want) {
			t.Errorf("no view by %s: %v", want, s.app.history.views)
		}
	}
}

func TestPeriods(t *testing.T) {
	s := newStage(t, 120, 24, desktop())
	s.press("T", "T", "T") // an hour
	if n := s.app.history.groups.Total.Connections; n != 5 {
		t.Errorf("%d connections in the last hour, want 5: %s", n, s.app.scope.label())
	}
	s.press("h")
	if n := s.app.history.groups.Total.Connections; n != 1 || !strings.Contains(s.pane(), "Mar 1 10:00 – 11:00") {
		t.Errorf("%d connections in the hour before, want 1:\n%s", n, s.pane())
	}
	s.press("H")
	if n := s.app.history.groups.Total.Connections; n != 5 || s.app.scope.back != 0 {
		t.Errorf("forth again: %d connections", n)
	}
	s.press("H") // the future is not shown
	if s.app.scope.back != 0 {
		t.Error("went to the future")
	}
	s.press("t", "v")
	s.typed("time")
	s.press("enter", "enter") // into one bucket
	if s.app.scope.fixed[1].IsZero() || s.app.history.field() != "exe" {
		t.Errorf("not in a bucket: %s", s.app.scope.label())
	}
	s.press("backspace")
	if !s.app.scope.fixed[1].IsZero() || s.app.history.field() != "time" {
		t.Errorf("not back from the bucket: %s by %s", s.app.scope.label(), s.app.history.field())
	}
}

func TestSortFindUnits(t *testing.T) {
	s := newStage(t, 120, 24, desktop())
	s.press("s") // connections
	if got := s.keysOf()[3]; got != "/opt/アプリ/写真同期" {
		t.Errorf("fewest connections: %s", got)
	}
	s.press("S")
	if got := s.keysOf()[0]; got != "/opt/アプリ/写真同期" {
		t.Errorf("turned round, the first is %s", got)
	}
	s.press("/")
	s.typed("SYNCTH")
	s.press("enter")
	if got := s.keysOf()[s.app.history.table.Cursor()]; got != "/usr/bin/syncthing" {
		t.Errorf("found %s", got)
	}
	for _, want := range []string{"8.3 MB", "7.9 MiB", "8,280,000", "8,280.0", "8.3", "<0.1"} {
		if !strings.Contains(s.pane(), want) {
			t.Errorf("no %q in\n%s", want, s.pane())
		}
		s.press("u")
	}
}

// TestPages reads further connections when the cursor nears the end: each once,
// also where many began at one moment.
func TestPages(t *testing.T) {
	var conns []event.Connection
	for i := range 2600 {
		c := connection(uint64(i+1), "/bin/a", fmt.Sprintf("h%d.example", i), "", float64(i/700))
		c.Opened = now.Add(-time.Duration(i/700) * time.Hour)
		c.Last = c.Opened
		conns = append(conns, c)
	}
	s := newStage(t, 120, 24, conns)
	s.press("2")
	p := s.app.panes[connectionsTab].(*connectionsPane)
	for range 10 {
		s.press("end")
	}
	seen := map[string]int{}
	for i := range p.rows {
		seen[p.rows[i].Domain]++
	}
	if len(p.rows) != 2600 || len(seen) != 2600 || p.more {
		t.Errorf("%d rows, %d different, more %t", len(p.rows), len(seen), p.more)
	}
}

// slow is a database that answers when it is told to, or cancelled.
type slow struct {
	Record
	release chan struct{}
	ended   chan error
}

func (d *slow) Group(ctx context.Context, q query.GroupQuery) (query.Groups, error) {
	select {
	case <-d.release:
		return d.Record.Group(ctx, q)
	case <-ctx.Done():
		d.ended <- ctx.Err()
		return query.Groups{}, ctx.Err()
	}
}

// TestStaleIsCancelled: a new question ends the one before, and its answer is
// not shown; Close ends all and waits.
func TestStaleIsCancelled(t *testing.T) {
	s := newStage(t, 120, 24, desktop())
	d := &slow{Record: s.app.deps.Record, release: make(chan struct{}), ended: make(chan error, 4)}
	s.app.deps.Record = d
	ask := func() chan tea.Msg {
		out := make(chan tea.Msg, 1)
		cmd := s.app.history.ask(false)
		batch := cmd().(tea.BatchMsg)
		go func() { out <- batch[0]() }()
		return out
	}
	first := ask()
	second := ask()
	if err := <-d.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the first question ended with %v", err)
	}
	s.app.Update(<-first)
	if !s.app.history.asked.busy || s.app.history.asked.err != nil {
		t.Error("the answer to an old question was taken")
	}
	close(d.release)
	s.app.Update(<-second)
	if s.app.history.asked.busy || len(s.keysOf()) != 4 {
		t.Errorf("the answer to the new one was not: %v", s.keysOf())
	}
	d.release = make(chan struct{})
	third := ask()
	s.app.Close()
	<-third
	if msg := s.app.history.ask(false)().(tea.BatchMsg)[0](); msg != nil {
		t.Errorf("asked after the end: %v", msg)
	}
}

func TestNoDatabase(t *testing.T) {
	s := newStage(t, 80, 12, nil)
	s.check()
	if !strings.Contains(s.pane(), "nothing was recorded in this period") {
		t.Errorf("an empty record does not say what to do:\n%s", s.pane())
	}
	s.app.deps.Alerts = func(context.Context, query.AlertQuery) ([]event.Alert, error) { return nil, query.ErrNotReadable }
	s.press("3")
	if !strings.Contains(s.pane(), "join group snitch") {
		t.Errorf("an unreadable record does not say what to do:\n%s", s.pane())
	}
}

var hostile = []string{"\x1b[2J\x1b]0;owned\x07", "a\rb\nc\td", "\u202egnp.exe", "\u0090q", "a\u0300\u0301\u0302\u0303\u0304\u0305", "\xff\xfe",
	"\U0001f469\u200d\U0001f680\U0001f44d\U0001f3fd", "❤️🇩🇪", strings.Repeat("漢", 900), "\x00", "\u2028\u200b", `*,\`, ""}

// hostileConnections have what is hostile in everything that is text.
func hostileConnections(texts []string) (out []event.Connection) {
	for i, h := range texts {
		c := connection(uint64(i+1), "/bin/"+h, h, "", float64(i))
		c.Process.Name, c.Process.Args, c.Process.Executable.View, c.Process.Executable.Package = h, []string{h, h}, h, h
		c.User, c.Process.User, c.Name.SNI, c.Cgroup = h, h, h, event.Cgroup{Path: h, Unit: h, Container: h}
		c.Decision = event.Decision{Action: event.ActionDeny, Would: event.ActionDeny, Mode: event.ModeAudit, Rule: h, Matches: []string{h}, Reason: h, Revision: h, Pos: h}
		c.Novelty = []string{h}
		out = append(out, c)
	}
	return out
}

// TestHostile: nothing that is recorded reaches the terminal as anything but
// printable characters within its lines, in any view, and every row can be
// filtered by.
func TestHostile(t *testing.T) {
	s := newStage(t, 101, 26, hostileConnections(hostile))
	for range s.app.history.views {
		for range min(3, s.app.history.table.Len()) {
			s.press("down", "f")
			s.check()
			s.press("backspace", "i")
			s.check()
			s.press("esc")
		}
		s.press("right")
	}
	for _, tab := range []string{"2", "3", "4"} {
		s.press(tab)
		for range hostile {
			s.check()
			s.press("enter")
			s.check()
			s.press("esc", "down")
		}
	}
}

// FuzzKeys presses keys over hostile connections on terminals of any size.
func FuzzKeys(f *testing.F) {
	for i, h := range hostile {
		f.Add(h, "\rx\bfv/a1234\x1btThHuUsScwaoR?i", uint8(30+9*i), uint8(6+3*i))
	}
	f.Fuzz(func(t *testing.T, text, keys string, width, height uint8) {
		s := newStage(t, max(20, int(width)), max(4, int(height)), hostileConnections([]string{text, "b", "b"}))
		for _, k := range keys[:min(len(keys), 32)] {
			switch k {
			case '\x1b':
				s.press("esc")
			case '\r':
				s.press("enter")
			case '\b':
				s.press("backspace")
			case '5', 'q':
			default:
				s.press(string(k))
			}
			s.check()
		}
	})
}

// many is a database with as many groups as there may be.
type many struct{ Record }

func (many) Group(context.Context, query.GroupQuery) (query.Groups, error) {
	g := query.Groups{Count: query.MaxGroupLimit, Basis: query.BasisMoved}
	for i := range query.MaxGroupLimit {
		g.Rows = append(g.Rows, query.GroupRow{Keys: []string{fmt.Sprintf("/opt/写真/program-%d", i)}, Details: []string{""}, Connections: 1, Sent: uint64(i), Last: now})
	}
	return g, nil
}

// TestMany: drawing costs what is seen, and keys do not wait, with a hundred
// thousand rows.
func TestMany(t *testing.T) {
	s := newStage(t, 140, 50, nil)
	s.app.deps.Record = many{s.app.deps.Record}
	s.press("r")
	began := time.Now()
	for range 50 {
		s.press("pgdown")
		s.check()
	}
	paged := time.Since(began)
	began = time.Now()
	s.press("/")
	s.typed("m-99999")
	s.check()
	found := time.Since(began)
	t.Logf("a page in %s, a letter of find in %s", paged/50, found/8)
	if got := s.keysOf()[s.app.history.table.Cursor()]; got != "/opt/写真/program-99999" {
		t.Errorf("found %s", got)
	}
	if paged/50 > 200*time.Millisecond || found/8 > 500*time.Millisecond {
		t.Error("that is a person's time")
	}
}
