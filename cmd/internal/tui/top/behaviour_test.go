package top

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
)

func names(rows []*Row) (out []string) {
	for _, r := range rows {
		out = append(out, r.Name)
	}
	return out
}

func TestOrders(t *testing.T) {
	s := newStage(t, 100, 20)
	s.desktop()
	for _, c := range []struct {
		order   Order
		reverse bool
		want    string
	}{
		{ByRate, false, "syncthing firefox wget 写真同期"},
		{BySent, false, "syncthing firefox wget 写真同期"},
		{ByReceived, false, "firefox syncthing wget 写真同期"},
		{ByName, false, "firefox syncthing wget 写真同期"},
		{ByName, true, "写真同期 wget syncthing firefox"},
		{ByConnections, false, "firefox syncthing 写真同期 wget"},
	} {
		got := strings.Join(names(s.app.model.collector.Rows(Ask{Order: c.order, Reverse: c.reverse})), " ")
		if got != c.want {
			t.Errorf("%s, reverse %t: %s, want %s", c.order, c.reverse, got, c.want)
		}
	}
}

// TestRates: what moved within the last seconds, whatever was before, and
// nothing when nothing moves.
func TestRates(t *testing.T) {
	s := newStage(t, 100, 20)
	old := record(1, "/bin/a", "a.example", 1)
	old.Time = noon.Add(-time.Hour)
	old.Sent = 5_000_000
	s.apply(old, false)
	s.tick()
	if r := s.app.model.rows[0]; r.Up != 0 || r.Sent != 5_000_000 {
		t.Errorf("what moved before it was seen counts as now: %d/s of %d", r.Up, r.Sent)
	}
	for range smooth {
		old.Sent += 3000
		s.apply(old, false)
		s.tick()
	}
	if r := s.app.model.rows[0]; r.Up != 3000 || s.app.model.state.Sent != 3000 {
		t.Errorf("%d/s, of all %d/s, want 3000", r.Up, s.app.model.state.Sent)
	}
	for range 2 * samples {
		s.tick()
	}
	if r := s.app.model.rows[0]; r.Up != 0 || slices.Max(r.History[:]) != 0 {
		t.Errorf("still %d/s, %v", r.Up, r.History)
	}
	old.Sent += 600
	s.apply(old, false)
	s.tick()
	if r := s.app.model.rows[0]; r.Up != 200 || slices.Max(r.History[:]) != 200 {
		t.Errorf("after a pause: %d/s, %v", r.Up, r.History)
	}
}

func TestEndedLinger(t *testing.T) {
	s := newStage(t, 100, 20)
	r := record(1, "/bin/a", "a.example", 1)
	s.apply(r, false)
	s.apply(r, true)
	s.tick()
	if rows := s.app.model.rows; len(rows) != 1 || !rows[0].Ended || rows[0].Connections != 0 {
		t.Fatalf("just ended: %+v", rows)
	}
	s.now = s.now.Add(linger)
	s.tick()
	if rows := s.app.model.rows; len(rows) != 0 {
		t.Errorf("%d rows long after the end", len(rows))
	}
}

func TestFilterFindPause(t *testing.T) {
	s := newStage(t, 100, 20)
	s.desktop()
	s.press("f")
	s.typed("nam")
	s.press("enter")
	if p := s.pane(); !strings.Contains(p, "no operator") {
		t.Errorf("a filter that does not parse is not explained:\n%s", p)
	}
	s.typed("e=wget")
	s.press("enter")
	if got := names(s.app.model.rows); !slices.Equal(got, []string{"wget"}) {
		t.Errorf("filtered: %v", got)
	}
	s.press("backspace")
	if len(s.app.model.rows) != 4 {
		t.Errorf("filter taken off: %v", names(s.app.model.rows))
	}
	s.press("/")
	s.typed("写真同")
	s.press("enter")
	if got := s.app.model.rows[s.app.model.table.Cursor()].Name; got != "写真同期" {
		t.Errorf("found %q", got)
	}
	s.press("e")
	if got := names(s.app.model.rows); len(got) != 3 || slices.Contains(got, "写真同期") {
		t.Errorf("excluded: %v", got)
	}
	s.press("backspace", "p")
	s.apply(record(9, "/bin/new", "new.example", 9), false)
	s.tick()
	if len(s.app.model.rows) != 4 || !strings.Contains(s.pane(), "paused") {
		t.Errorf("paused, it shows %v", names(s.app.model.rows))
	}
	s.press("p")
	s.tick()
	if len(s.app.model.rows) != 5 {
		t.Errorf("going on, it shows %v", names(s.app.model.rows))
	}
}

// TestCursorFollowsRow: once it was moved, the cursor stays on its row.
func TestCursorFollowsRow(t *testing.T) {
	s := newStage(t, 100, 20)
	s.desktop()
	s.press("down")
	r := record(8, "/bin/rush", "rush.example", 9)
	r.Sent = 1 << 40
	r.Time = s.now
	s.apply(r, false)
	s.tick()
	if rows := s.app.model.rows; rows[0].Name != "rush" || rows[s.app.model.table.Cursor()].Name != "firefox" {
		t.Errorf("cursor %d of %v", s.app.model.table.Cursor(), names(rows))
	}
}

// TestStaleAnswers: an answer to an older question is not shown.
func TestStaleAnswers(t *testing.T) {
	s := newStage(t, 100, 20)
	s.desktop()
	slow := s.app.model.query(false)
	s.press("right")
	s.run(slow)
	if got := s.app.model.rows; len(got) != 5 {
		t.Errorf("%d rows: those of the view before", len(got))
	}
}

var hostile = []string{"\x1b[2J\x1b]0;owned\x07", "a\rb\nc\td", "\u202egnp.exe", "\u0090q", "a\u0300\u0301\u0302\u0303\u0304\u0305", "\xff\xfe", "\U0001f469\u200d\U0001f680\U0001f44d\U0001f3fd", "❤️🇩🇪", strings.Repeat("漢", 3000), "\x00", "\u2028\u200b"}

// TestHostile: no text of a process or the network reaches the terminal as
// anything but printable characters, in lines of the terminal's width.
func TestHostile(t *testing.T) {
	s := newStage(t, 97, 30)
	for i, h := range hostile {
		r := record(uint32(i+1), "/bin/"+h, h, 443)
		r.Name, r.Cmdline, r.User, r.Rule, r.Country, r.Unit, r.SNI, r.Reason, r.Proto = h, h, h, h, h, h, h, h, h
		r.Action, r.LAddr, r.Result = h, h, h
		s.apply(r, false)
	}
	s.tick()
	for range views {
		s.press("right")
		for range s.app.model.rows {
			s.press("down", "enter")
			checkPane(t, s, 97)
			s.press("esc", "backspace")
		}
		checkPane(t, s, 97)
	}
}

func checkPane(t *testing.T, s *stage, width int) {
	t.Helper()
	lines := strings.Split(s.app.View().Content, "\n")
	if len(lines) != s.app.height {
		t.Fatalf("%d lines, want %d", len(lines), s.app.height)
	}
	for _, line := range lines {
		plain := ansi.Strip(line)
		for _, r := range plain {
			if !unicode.IsPrint(r) {
				t.Fatalf("unprintable %U in %q", r, plain)
			}
		}
		if a, b := ansi.StringWidth(plain), ansi.StringWidthWc(plain); a != width || b != width {
			t.Fatalf("width %d or %d, want %d: %q", a, b, width, plain)
		}
	}
}

// FuzzView presses keys on a table of hostile rows.
func FuzzView(f *testing.F) {
	for _, h := range hostile {
		f.Add(h, "lljk/a\x1b\r?q", uint8(40), uint8(10))
	}
	f.Fuzz(func(t *testing.T, text, keys string, width, height uint8) {
		s := newStage(t, int(width), int(height))
		r := record(1, "/bin/"+text, text, 443)
		r.Cmdline, r.User, r.Rule = text, text, text
		s.apply(r, false)
		s.apply(record(2, "/bin/x", "x", 1), false)
		s.tick()
		for _, k := range keys[:min(len(keys), 40)] {
			switch k {
			case '\x1b':
				s.press("esc")
			case '\r':
				s.press("enter")
			case '\b':
				s.press("backspace")
			default:
				s.press(string(k))
			}
			if width >= 20 && height >= 4 {
				checkPane(t, s, int(width))
			}
		}
	})
}

// TestMany: a hundred thousand connections in no more rows than are seen, and
// the answer within the time of a sample.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("short: a hundred thousand connections")
	}
	s := newStage(t, 120, 40)
	for i := range MaxConnections + 5000 {
		r := record(uint32(i), fmt.Sprintf("/bin/p%d", i%3000), fmt.Sprintf("h%d.example", i%20000), 443)
		r.Sent = uint64(i)
		s.apply(r, false)
	}
	for range views {
		began := time.Now()
		s.tick()
		asked := time.Since(began)
		began = time.Now()
		s.press("end")
		_ = s.pane()
		drawn := time.Since(began)
		t.Logf("%s: %d rows, asked in %s, drawn in %s", s.app.model.ask.View, len(s.app.model.rows), asked, drawn)
		if drawn > time.Second {
			t.Errorf("drawing took %s", drawn)
		}
		s.press("right")
	}
	if st := s.app.model.collector.State(); st.Connections != MaxConnections || st.Full != 5000 || !strings.Contains(s.pane(), "5,000 snapshots not shown") {
		t.Errorf("%+v", st)
	}
}

// TestFollow reads from a real control socket, through the end of one daemon
// to the next.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	c := NewCollector()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	open := record(77, "/usr/sbin/sshd", "", 0)
	src := Source{Client: control.NewClient(dir), Open: func(_ context.Context, _ time.Time, f func(event.Record) error) error { return f(open) }}
	go func() { defer close(ended); Follow(ctx, src, c) }()
	defer func() { cancel(); <-ended }()
	eventually(t, "it says that none runs", func() bool { return strings.Contains(c.State().Problem, "no daemon runs") })
	for round := range 2 {
		hub, stop := serve(t, dir)
		eventually(t, "it is live", func() bool { return c.State().Problem == "" && c.State().Connections == 1 })
		hub.Publish([]event.Connection{{ID: 1, Opened: time.Now(), Sent: 500, Result: event.ResultEstablished,
			Remote: netip.MustParseAddrPort("192.0.2.1:443"), Process: &event.Process{Executable: event.Executable{Path: "/bin/curl", Kind: event.ExecutableFile}}}})
		eventually(t, "the connection is there", func() bool { return c.State().Connections == 2 })
		if got := names(c.Rows(Ask{Order: ByName})); !slices.Equal(got, []string{"curl", "sshd"}) {
			t.Errorf("round %d: %v", round, got)
		}
		stop()
		eventually(t, "it says that the daemon ended", func() bool { return c.State().Problem != "" })
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

// serve answers on the control socket as the daemon does.
func serve(t *testing.T, dir string) (*control.Hub, func()) {
	t.Helper()
	hub := control.NewHub(func(uint32) string { return "" })
	access := control.Access{Group: -1}
	l, err := control.Listen(dir, access)
	if err != nil {
		t.Fatal(err)
	}
	none := func(context.Context) error { return nil }
	srv := control.New(control.Config{Access: access, Hub: hub, Log: slog.New(slog.DiscardHandler), Flush: none,
		Status:    func(context.Context) (control.Status, error) { return control.Status{Started: noon}, nil },
		Reload:    func() error { return nil },
		SetAlerts: func(context.Context, []int64, event.AlertState) error { return nil }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	stop := func() {
		hub.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return hub, stop
}
