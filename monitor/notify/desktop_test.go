package notify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/monitor/notify/notifytest"
)

func curl(action event.Action) Alert {
	return Alert{Event: &event.Alert{ID: 7}, Action: action, Rule: "new-program", Reason: "A program that was never seen", Program: "/usr/bin/curl", Peer: "example.com:443", UID: person}
}

func TestAlertOnADesktop(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve(notifytest.Full()...)
	n := s.notifier(Config{}, nil)
	n.Alert(curl(event.ActionAlert))
	denied := curl(event.ActionDeny)
	denied.Rule, denied.UID = "no-paste", 0 // the system's: everybody sees it
	srv.Await(1)
	n.Alert(denied)
	got := srv.Await(2)
	actions := []string{"default", "Open details", "details", "Open details", "why", "Why?"}
	want := []notifytest.Toast{
		{From: person, ID: got[0].ID, Icon: "dialog-warning", Title: "Alert: curl → example.com:443", Body: "A program that was never seen\n/usr/bin/curl\nRule new-program", Actions: actions, Urgency: 1},
		{From: person, ID: got[1].ID, Icon: "dialog-error", Title: "Denied: curl → example.com:443", Body: "A program that was never seen\n/usr/bin/curl\nRule no-paste", Actions: actions, Urgency: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("toasts (-want +got):\n%s", diff)
	}
	eventually(t, "both counted", func() bool { return n.Stats().Shown == 2 })
}

func TestRepeatReplaces(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve(notifytest.Full()...)
	n := s.notifier(Config{}, nil)
	n.Alert(curl(event.ActionAlert))
	first := srv.Await(1)[0]
	for range 41 {
		n.Alert(curl(event.ActionAlert))
	}
	second := srv.Await(2)[1]
	if second.Replaces != first.ID || second.ID != first.ID || !strings.HasSuffix(second.Body, "\n42 times") {
		t.Errorf("the repeat: %+v, after %+v", second, first)
	}
	// Put away by the person: the next is new.
	srv.Tell(notifytest.Order{Close: dismissed, ID: first.ID})
	time.Sleep(50 * time.Millisecond) // the signal passes three processes
	n.Alert(curl(event.ActionAlert))
	third := srv.Await(3)[2]
	if third.Replaces != 0 || strings.Contains(third.Body, "times") {
		t.Errorf("after it was put away: %+v", third)
	}
}

func TestStorm(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve(notifytest.Full()...)
	n := s.notifier(Config{}, nil)
	const storm = 10_000
	for i := range storm {
		a := curl(event.ActionAlert)
		a.Program = fmt.Sprintf("/tmp/program-%d", i)
		n.Alert(a)
		if i%1000 == 999 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	single := pace.Burst - 1 // the last is for a denial
	want := fmt.Sprintf("%s more programs", grouped(storm-uint64(single)))
	eventually(t, want, func() bool {
		return slices.ContainsFunc(srv.Calls(), func(c notifytest.Toast) bool { return c.Title == want })
	})
	urgent := curl(event.ActionDeny)
	n.Alert(urgent)
	eventually(t, "a denial in the storm", func() bool {
		return slices.ContainsFunc(srv.Calls(), func(c notifytest.Toast) bool { return strings.HasPrefix(c.Title, "Denied: curl") })
	})
	ids := map[uint32]bool{}
	for _, c := range srv.Calls() {
		ids[c.ID] = true
	}
	if len(ids) != single+2 || len(srv.Calls()) > single+8 {
		t.Errorf("%d toasts in %d calls, want %d", len(ids), len(srv.Calls()), single+2)
	}
	if stats := n.Stats(); stats.Alerts != storm+1 || stats.Dropped != 0 || stats.Helpers != 1 {
		t.Errorf("stats: %+v", stats)
	}
}

func TestClicks(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve(notifytest.Full()...)
	var mu sync.Mutex
	var clicks []Click
	n := s.notifier(Config{}, func(_ context.Context, c Click) (Text, error) {
		mu.Lock()
		defer mu.Unlock()
		clicks = append(clicks, c)
		return Text{Title: "Why " + c.Want.String(), Body: "rule new-program\nmatched <b>novelty</b>"}, nil
	})
	a := curl(event.ActionAlert)
	n.Alert(a)
	first := srv.Await(1)[0]
	srv.Tell(notifytest.Order{Invoke: "nonsense", ID: first.ID})
	srv.Tell(notifytest.Order{Invoke: "why", ID: first.ID + 1000})
	srv.Tell(notifytest.Order{Invoke: "why", ID: first.ID})
	srv.Tell(notifytest.Order{Invoke: "why", ID: first.ID}) // too soon for a second answer
	second := srv.Await(2)[1]
	if second.ID == first.ID || second.Title != "Why why" || second.Body != "rule new-program\nmatched &lt;b&gt;novelty&lt;/b&gt;" || len(second.Actions) != 0 {
		t.Errorf("the answer: %+v", second)
	}
	time.Sleep(answerEvery)
	srv.Tell(notifytest.Order{Invoke: "default", ID: first.ID})
	third := srv.Await(3)[2]
	if third.Replaces != second.ID || third.Title != "Why details" {
		t.Errorf("the second answer: %+v", third)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []Click{{person, a, WantWhy}, {person, a, WantDetails}}; !cmp.Equal(want, clicks) {
		t.Errorf("clicks: %s", cmp.Diff(want, clicks))
	}
}

func TestServerRestarts(t *testing.T) {
	s := newSession(t).logIn()
	n := s.notifier(Config{}, nil)
	n.Alert(curl(event.ActionAlert)) // nobody serves yet: the desktop is still starting
	eventually(t, "the toast waits", func() bool { return n.Stats().Waiting > 0 })
	one := s.Serve(notifytest.Full()...)
	one.Await(1)
	eventually(t, "its answer is read", func() bool { return n.Stats().Shown == 1 })
	one.End()
	n.Alert(curl(event.ActionAlert))
	eventually(t, "the repeat waits", func() bool { return n.Stats().Waiting > 1 })
	two := s.Serve(notifytest.Full()...)
	got := two.Await(1)[0]
	if got.Replaces != 0 || !strings.HasSuffix(got.Body, "2 times") {
		t.Errorf("on the new server: %+v", got)
	}
	if stats := n.Stats(); stats.Helpers != 1 || stats.Failed != 0 {
		t.Errorf("stats: %+v", stats)
	}
}

func TestServerWithoutCapabilities(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve()
	n := s.notifier(Config{}, nil)
	a := curl(event.ActionAlert)
	a.Reason = "a < b & c"
	n.Alert(a)
	got := srv.Await(1)[0]
	if len(got.Actions) != 0 || !strings.HasPrefix(got.Body, "a < b & c\n") {
		t.Errorf("a server that reads no markup and has no buttons got %+v", got)
	}
}

func TestHostileNames(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve(notifytest.Full()...)
	n := s.notifier(Config{}, nil)
	a := curl(event.ActionAlert)
	a.Program = "/tmp/" + strings.Repeat("a", 4000) + "/ev\x1b[2Jil\u202egpj.\nexe\xff<img src='file:///etc/passwd'>"
	a.Peer = "<b>bank</b>\n.example:443"
	n.Alert(a)
	got := srv.Await(1)[0]
	for _, bad := range []string{"\x1b", "\u202e", "\xff", "<img", "<b>bank</b>\n"} {
		if strings.Contains(got.Title+got.Body, bad) {
			t.Errorf("%q reached the screen: %+v", bad, got)
		}
	}
	if want := `ev\x1b[2Jil\u202egpj.\nexe\xff&lt;img src=`; !strings.Contains(got.Body, want) {
		t.Errorf("the body has no %q: %q", want, got.Body)
	}
	if !strings.Contains(got.Title, `<b>bank</b>\n.example:443`) { // a title has no markup
		t.Errorf("title: %q", got.Title)
	}
	if len([]rune(got.Title)) > maxTitle || strings.Count(got.Body, "\n") != 2 {
		t.Errorf("too much: %q, %q", got.Title, got.Body)
	}
}

func TestLogInLater(t *testing.T) {
	s := newSession(t)
	n := s.notifier(Config{}, nil)
	for i := range 30 {
		a := curl(event.ActionAlert)
		a.Program = fmt.Sprintf("/opt/p%d", i)
		if i%3 == 0 {
			a.UID = 0
		}
		n.Alert(a)
	}
	n.Trouble(Trouble{Key: "rules", Title: "Rules do not load", Text: "a.yaml:3:4: no such key"})
	time.Sleep(200 * time.Millisecond)
	if stats := n.Stats(); stats.Helpers != 0 || stats.Failed != 0 || stats.Desks != 0 {
		t.Errorf("with nobody there: %+v", stats)
	}
	s.logIn()
	srv := s.Serve(notifytest.Full()...)
	got := srv.Await(2)
	slices.SortFunc(got, func(a, b notifytest.Toast) int { return strings.Compare(a.Title, b.Title) })
	if got[0].Title != "30 more programs" || got[1].Title != "Rules do not load" || got[1].Urgency != 2 || len(got[1].Actions) != 0 {
		t.Errorf("at the log-in: %+v", got)
	}
	// And they leave: the helper ends, quietly.
	s.EndBus()
	eventually(t, "nobody is there", func() bool { return n.Stats().Failed > 0 })
}

func TestQuietHoursOnADesktop(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve(notifytest.Full()...)
	now := time.Now()
	minute := now.Hour()*60 + now.Minute()
	n := s.notifier(Config{Quiet: Quiet{{minute, (minute + 5) % minutesOfDay}}}, nil)
	n.Alert(curl(event.ActionDeny))
	n.Trouble(Trouble{Key: "x", Title: "x"})
	time.Sleep(300 * time.Millisecond)
	if got := srv.Calls(); len(got) != 0 {
		t.Errorf("in quiet hours: %+v", got)
	}
}

func TestHelperDies(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve(notifytest.Full()...)
	n := s.notifier(Config{}, nil)
	n.Alert(curl(event.ActionAlert))
	srv.Await(1)
	signalHelpers(t, syscall.SIGKILL)
	eventually(t, "the end is noticed", func() bool { return n.Stats().Failed == 1 })
	b := curl(event.ActionAlert)
	b.Program = "/usr/bin/wget"
	n.Alert(b)
	if got := srv.Await(2)[1]; !strings.HasPrefix(got.Title, "Alert: wget") {
		t.Errorf("by the second helper: %+v", got)
	}
	if stats := n.Stats(); stats.Helpers != 2 {
		t.Errorf("stats: %+v", stats)
	}
}

// TestHelperStops has a person stop the helper: the core must not wait for it.
func TestHelperStops(t *testing.T) {
	s := newSession(t).logIn()
	srv := s.Serve(notifytest.Full()...)
	n := s.notifier(Config{}, nil)
	n.Alert(curl(event.ActionAlert))
	srv.Await(1)
	signalHelpers(t, syscall.SIGSTOP)
	defer signalHelpers(t, syscall.SIGKILL)
	start := time.Now()
	for i := range maxQueue / 2 {
		a := curl(event.ActionAlert)
		a.Rule = fmt.Sprint(i)
		n.Alert(a)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("alerts waited %s for a helper", took)
	}
}
