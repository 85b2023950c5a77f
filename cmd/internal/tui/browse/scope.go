package browse

import (
	"time"

	"snitch/cmd/internal/tui/ui"
)

// periods are the lengths of time that t and T go through; 0 is all time.
var periods = [...]struct {
	name   string
	length time.Duration
}{
	{"10 minutes", 10 * time.Minute}, {"1 hour", time.Hour}, {"3 hours", 3 * time.Hour}, {"12 hours", 12 * time.Hour},
	{"1 day", 24 * time.Hour}, {"3 days", 3 * 24 * time.Hour}, {"7 days", 7 * 24 * time.Hour}, {"30 days", 30 * 24 * time.Hour},
	{"90 days", 90 * 24 * time.Hour}, {"1 year", 365 * 24 * time.Hour}, {"all time", 0},
}

// startPeriod is the one to begin with: a day.
const startPeriod = 4

// scope is what the tabs share: which connections, of when, in which units.
type scope struct {
	now    func() time.Time
	period int
	back   int       // periods before the present one
	anchor time.Time // the end of the present one, while looking back
	fixed  [2]time.Time
	stack  ui.Stack
	crumbs []crumb
	units  ui.Units
}

// crumb is where a filter was put on, to go back to.
type crumb struct {
	tab    int
	field  string
	cursor int
	ranged bool         // it was a range of time, not a filter
	before [2]time.Time // the fixed range then
}

// bounds are the ends of the period; zero: no bound.
func (s *scope) bounds() (since, until time.Time) {
	if !s.fixed[1].IsZero() {
		return s.fixed[0], s.fixed[1]
	}
	length := periods[s.period].length
	if length == 0 {
		return since, until
	}
	if s.back == 0 {
		return s.now().Add(-length), until
	}
	until = s.anchor.Add(-time.Duration(s.back) * length)
	return until.Add(-length), until
}

// present is the end of the minute that is running: what is added up by time
// needs an end, and is added up by minutes.
func (s *scope) present() time.Time { return s.now().Truncate(time.Minute).Add(time.Minute) }

// longer and shorter change the period and return to the present.
func (s *scope) longer(by int) {
	s.period = (s.period + by + len(periods)) % len(periods)
	s.back, s.fixed = 0, [2]time.Time{}
}

// step goes a period back, or with -1 forth again, and reports whether it did.
func (s *scope) step(by int) bool {
	if !s.fixed[1].IsZero() {
		width := s.fixed[1].Sub(s.fixed[0])
		next := s.fixed[1].Add(-time.Duration(by) * width)
		if next.Add(-width).After(s.now()) {
			return false
		}
		s.fixed = [2]time.Time{next.Add(-width), next}
		return true
	}
	if periods[s.period].length == 0 || s.back+by < 0 {
		return false
	}
	if s.back == 0 {
		s.anchor = s.now()
	}
	s.back += by
	return true
}

// label says which time is shown.
func (s *scope) label() string {
	if !s.fixed[1].IsZero() {
		return s.between(s.fixed[0], s.fixed[1])
	}
	name := periods[s.period].name
	if s.back == 0 {
		if periods[s.period].length == 0 {
			return name
		}
		return "last " + name
	}
	return s.between(s.bounds())
}

// between is a range of time for people, short where both ends are of one day.
func (s *scope) between(since, until time.Time) string {
	a, b := since.Local(), until.Local()
	form := "Jan 2 15:04"
	if until.Sub(since) < time.Minute {
		form = "Jan 2 15:04:05"
	}
	to := form
	if a.YearDay() == b.YearDay() && a.Year() == b.Year() {
		to = form[len("Jan 2 "):]
	}
	if a.Year() != s.now().Local().Year() {
		form = "2006 " + form
	}
	return a.Format(form) + " – " + b.Format(to)
}
