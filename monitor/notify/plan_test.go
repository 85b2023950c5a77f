package notify

import (
	"fmt"
	"hash/maphash"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"snitch/monitor/event"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func program(i int, action event.Action) Alert {
	return Alert{Action: action, Rule: "r", Program: fmt.Sprintf("/bin/p%d", i), UID: person}
}

// TestPlanLosesNothing: whatever comes when, at the end each alert is counted
// on exactly one toast, and no desk is disturbed more often than Pace says.
func TestPlanLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPlan(Pace{}, nil, maphash.MakeSeed())
		now, end := noon, noon
		alerts, toasts := 0, 0
		last := map[uint64]time.Time{}
		show := func() time.Time {
			due, wake := p.due(now)
			for _, d := range due {
				if before, ok := last[d.Key]; ok && now.Sub(before) < p.pace.Repeat {
					t.Fatalf("toast %d again after %s", d.Key, now.Sub(before))
				}
				last[d.Key] = now
			}
			toasts += len(due)
			return wake
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond)
			for range rapid.IntRange(0, 20).Draw(t, "burst") {
				action := event.ActionAlert
				if rapid.Bool().Draw(t, "deny") {
					action = event.ActionDeny
				}
				p.add(program(rapid.IntRange(0, 300).Draw(t, "program"), action), now, false)
				alerts++
			}
			show()
			end = now
		}
		for wake := show(); !wake.IsZero(); wake = show() {
			if !wake.After(now) {
				t.Fatalf("woken for %s at %s", wake, now)
			}
			if now = wake; now.Sub(end) > time.Hour {
				t.Fatal("it never comes to rest")
			}
		}
		counted := p.rest.alerts
		for _, g := range p.groups {
			counted += g.count
		}
		if counted != uint64(alerts) || p.waits() {
			t.Fatalf("%d of %d alerts are on toasts", counted, alerts)
		}
		bound := p.pace.Burst + int(now.Sub(noon)/p.pace.Refill) + int(now.Sub(noon)/p.pace.Repeat) + 2
		if toasts > bound {
			t.Fatalf("%d toasts within %s, want at most %d", toasts, now.Sub(noon), bound)
		}
	})
}

func TestPlanBounds(t *testing.T) {
	p := newPlan(Pace{Burst: 1 << 20}, nil, maphash.MakeSeed())
	for i := range 10 * maxGroups {
		p.add(program(i, event.ActionAlert), noon, false)
		p.due(noon)
	}
	for i := range 10 * maxTroubles {
		p.trouble(Trouble{Key: fmt.Sprint(i)}, noon)
	}
	for i := range 2 * maxPrograms {
		p.add(program(i, event.ActionAlert), noon, true)
	}
	if len(p.groups) > maxGroups || p.troubles != maxTroubles || len(p.rest.programs) != maxPrograms || !p.rest.full {
		t.Errorf("%d groups, %d troubles, %d programs", len(p.groups), p.troubles, len(p.rest.programs))
	}
	if got := p.rest.summary().Title; got != "More than 16,384 more programs" {
		t.Errorf("title: %q", got)
	}
}

func TestMissedIsShownAgain(t *testing.T) {
	p := newPlan(Pace{}, nil, maphash.MakeSeed())
	p.add(program(1, event.ActionAlert), noon, false)
	p.add(program(2, event.ActionAlert), noon, true)
	now := noon.Add(p.pace.Settle)
	first, _ := p.due(now)
	if again, _ := p.due(now); len(first) != 2 || len(again) != 0 {
		t.Fatalf("first %+v, then %+v", first, again)
	}
	for _, f := range first {
		p.missed(f.Key)
	}
	if again, _ := p.due(now.Add(p.pace.Repeat)); len(again) != 2 {
		t.Errorf("after they were missed: %+v", again)
	}
}

func TestQuietEndsWithASummary(t *testing.T) {
	quiet, err := ParseQuiet("22:00-07:00")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlan(Pace{}, quiet, maphash.MakeSeed())
	night := time.Date(2026, 3, 1, 23, 30, 0, 0, time.UTC)
	for i := range 9 {
		p.add(program(i, event.ActionDeny), night, false)
	}
	p.trouble(Trouble{Key: "k", Title: "T"}, night)
	toasts, wake := p.due(night)
	morning := time.Date(2026, 3, 2, 7, 0, 0, 0, time.UTC)
	if len(toasts) != 0 || !wake.Equal(morning) {
		t.Fatalf("at night: %+v, until %s", toasts, wake)
	}
	toasts, wake = p.due(wake)
	if len(toasts) != 2 || !wake.IsZero() || toasts[0].Title != "9 more programs" || !strings.HasPrefix(toasts[0].Body, "9 alerts, 9 denied\nPrograms: p0, p1, p2, …\nRules: r\n") || toasts[1].Title != "T" {
		t.Errorf("in the morning: %+v, %s", toasts, wake)
	}
}

func TestQuietHours(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("missing feature: no time zones here")
	}
	for _, test := range []struct {
		quiet string
		now   time.Time
		end   time.Time // zero: not quiet
	}{
		{"", noon, time.Time{}},
		{"12:00-13:30", noon, noon.Add(90 * time.Minute)},
		{"11:00-12:00", noon, time.Time{}},
		{"22:00-07:00", noon, time.Time{}},
		{"22:00-07:00,11:59-12:01", noon, noon.Add(time.Minute)},
		{"22:00-07:00", time.Date(2026, 3, 1, 6, 59, 30, 0, time.UTC), time.Date(2026, 3, 1, 7, 0, 0, 0, time.UTC)},
		// The night in which summer begins is an hour shorter.
		{"22:00-07:00", time.Date(2026, 3, 28, 23, 0, 0, 0, berlin), time.Date(2026, 3, 29, 7, 0, 0, 0, berlin)},
	} {
		quiet, err := ParseQuiet(test.quiet)
		if err != nil {
			t.Fatal(err)
		}
		end, is := quiet.until(test.now)
		if is == test.end.IsZero() || !end.Equal(test.end) {
			t.Errorf("%q at %s: got %s, %v, want %s", test.quiet, test.now, end, is, test.end)
		}
	}
	for _, bad := range []string{"x", "22:00", "22:00-", "7:00-8:00", "24:00-07:00", "22:00-22:00", "22:00-07:00,", ",", strings.Repeat("22:00-07:00,", 9) + "22:00-07:00", "22:00-07:00-08:00"} {
		if q, err := ParseQuiet(bad); err == nil {
			t.Errorf("%q was read as %v", bad, q)
		}
	}
}

func FuzzQuiet(f *testing.F) {
	f.Add("22:00-07:00, 12:00-13:00")
	f.Fuzz(func(t *testing.T, s string) {
		q, err := ParseQuiet(s)
		if err != nil {
			return
		}
		again, err := ParseQuiet(q.String())
		if err != nil || again.String() != q.String() {
			t.Errorf("%q: %v, then %v, %v", s, q, again, err)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("ev\x1bil\u202e\n\xff<b>", 10, true)
	f.Fuzz(func(t *testing.T, s string, most int, tail bool) {
		most = 1 + (most&0xff+256)&0xff
		got := clean(s, most, tail)
		if n := len([]rune(got)); n > most {
			t.Errorf("%d characters, want at most %d", n, most)
		}
		if again := clean(got, most, tail); again != got {
			t.Errorf("%q is not clean: %q", got, again)
		}
	})
}
