package top

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
)

var update = flag.Bool("update", false, "write the golden panes anew")

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record is a connection of a program to a name.
func record(pid uint32, exe, domain string, port uint16) event.Record {
	return event.Record{Time: noon.Add(time.Duration(pid) * time.Millisecond), Last: noon, PID: pid, Action: "allow", Would: "allow",
		Ancestor: event.Ancestor{Exe: exe, ExeKind: "file", Name: filepath.Base(exe), Cmdline: exe + " --now", SHA256: strings.Repeat("ab", 32)},
		User:     "alice", UID: 1000, Direction: "out", Family: "ipv4", Proto: "tcp", RAddr: fmt.Sprintf("93.184.216.%d", pid%250), RPort: port,
		LAddr: "192.168.1.7", LPort: 40000 + uint16(pid), Domain: domain, DomainSource: "dns", Country: "DE", Result: "established"}
}

// stage is a model on a screen of a size, with the connections of a small desktop.
type stage struct {
	t   *testing.T
	app *App
	now time.Time
}

func newStage(t *testing.T, width, height int) *stage {
	c := NewCollector()
	c.SetProblem("")
	s := &stage{t: t, app: NewApp(c), now: noon}
	s.app.model.now = func() time.Time { return s.now }
	s.app.Update(tea.WindowSizeMsg{Width: width, Height: height})
	return s
}

// apply sends a snapshot through the message that the feed would bring.
func (s *stage) apply(r event.Record, closed bool) {
	s.app.model.collector.Apply(&control.Message{Type: control.TypeConnection, Record: &r, Closed: closed}, s.now)
}

func (s *stage) desktop() {
	fox, sync := record(1, "/usr/lib/firefox/firefox", "example.org", 443), record(2, "/usr/bin/syncthing", "", 22000)
	listen := record(3, "/usr/bin/syncthing", "", 0)
	listen.Direction, listen.LAddr, listen.LPort, listen.RAddr, listen.Result = "listen", "0.0.0.0", 22000, "", "listening"
	wget := record(4, "/usr/bin/wget", "tracker.example.net", 80)
	wget.Action, wget.Would, wget.Rule, wget.Result = "deny", "deny", "no-trackers", "denied"
	wide := record(5, "/opt/アプリ/写真同期", "写真.example.jp", 443)
	wide.Action, wide.Would = "alert", "alert"
	for i := range 20 {
		fox.Received += uint64(i * i * 3000)
		fox.Sent += 900
		sync.Sent += 1_000_000
		for _, r := range []event.Record{fox, sync, listen, wget, wide} {
			s.apply(r, false)
		}
		s.tick()
	}
}

// tick lets a second pass.
func (s *stage) tick() {
	s.now = s.now.Add(Tick)
	s.run(s.app.model.query(true))
}

// run gives the answer of a command to the model, but waits for no clock.
func (s *stage) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if msg, ok := cmd().(rowsMsg); ok {
		s.app.Update(msg)
	}
}

// press presses keys as bubbletea names them.
func (s *stage) press(keys ...string) {
	for _, k := range keys {
		_, cmd := s.app.Update(keyPress(k))
		s.run(cmd)
	}
}

func keyPress(k string) tea.KeyPressMsg {
	special := map[string]rune{"enter": tea.KeyEnter, "backspace": tea.KeyBackspace, "esc": tea.KeyEscape, "down": tea.KeyDown, "up": tea.KeyUp,
		"right": tea.KeyRight, "left": tea.KeyLeft, "end": tea.KeyEnd, "pgdown": tea.KeyPgDown}
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

// pane is what the terminal shows, without colours and trailing blanks.
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

// TestPanes walks through the live table and compares what is seen.
func TestPanes(t *testing.T) {
	s := newStage(t, 120, 14)
	s.golden("waiting")
	s.desktop()
	s.golden("programs")
	s.press("right")
	s.golden("connections")
	s.press("enter")
	s.golden("connection")
	s.press("esc", "left", "left")
	s.golden("listening")
	s.press("right", "down", "enter")
	s.golden("drilled")
	s.press("backspace", "?")
	s.golden("help")
	s.press("?")
	s.app.Update(tea.WindowSizeMsg{Width: 40, Height: 10})
	s.golden("small")
	s.app.Update(tea.WindowSizeMsg{Width: 10, Height: 3})
	s.golden("tiny")
}
