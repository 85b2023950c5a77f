package notify

import (
	"fmt"
	"strings"
	"time"
)

// Quiet is the times of day, on the wall, in which nothing is shown. What comes
// meanwhile is counted and told once at the end.
type Quiet []Span

// Span is from From up to, not including, To, in minutes of the day. It passes
// midnight when To is smaller.
type Span struct {
	From, To int
}

const (
	minutesOfDay = 24 * 60
	maxSpans     = 8
)

// ParseQuiet reads spans such as "22:00-07:00", with commas between them. ""
// is none.
func ParseQuiet(s string) (Quiet, error) {
	var quiet Quiet
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" && s == "" {
			return nil, nil
		}
		from, to, ok := strings.Cut(part, "-")
		if !ok {
			return nil, fmt.Errorf("quiet hours %q: want FROM-TO, as 22:00-07:00", clean(part, maxLine, false))
		}
		span, err := parseSpan(strings.TrimSpace(from), strings.TrimSpace(to))
		if err != nil {
			return nil, err
		}
		if quiet = append(quiet, span); len(quiet) > maxSpans {
			return nil, fmt.Errorf("quiet hours: more than %d spans", maxSpans)
		}
	}
	return quiet, nil
}

func parseSpan(from, to string) (Span, error) {
	f, err := parseMinute(from)
	if err != nil {
		return Span{}, err
	}
	t, err := parseMinute(to)
	if err != nil {
		return Span{}, err
	}
	if f == t {
		return Span{}, fmt.Errorf("quiet hours %s-%s: begin and end are the same", from, to)
	}
	return Span{f, t}, nil
}

func parseMinute(s string) (int, error) {
	t, err := time.Parse("15:04", s)
	if err != nil || len(s) != len("15:04") {
		return 0, fmt.Errorf("quiet hours: %q is no time of day, as 07:30", clean(s, maxLine, false))
	}
	return t.Hour()*60 + t.Minute(), nil
}

// String writes what ParseQuiet reads.
func (q Quiet) String() string {
	var parts []string
	for _, s := range q {
		parts = append(parts, fmt.Sprintf("%02d:%02d-%02d:%02d", s.From/60, s.From%60, s.To/60, s.To%60))
	}
	return strings.Join(parts, ",")
}

// until tells whether now is quiet, and when the span that says so ends. Another
// may begin there.
func (q Quiet) until(now time.Time) (time.Time, bool) {
	minute := now.Hour()*60 + now.Minute()
	for _, s := range q {
		if !s.has(minute) {
			continue
		}
		day := now.Day()
		if s.To <= minute {
			day++
		}
		end := time.Date(now.Year(), now.Month(), day, s.To/60, s.To%60, 0, 0, now.Location())
		if !end.After(now) { // the clock was set back within the span
			end = now.Add(time.Minute)
		}
		return end, true
	}
	return time.Time{}, false
}

func (s Span) has(minute int) bool {
	if s.From < s.To {
		return s.From <= minute && minute < s.To
	}
	return minute >= s.From || minute < s.To
}
