package fleet

import (
	"errors"
	"time"
)

// staleAfter is how long a source may be out of reach before people are told.
const staleAfter = 24 * time.Hour

// State is what a Source tells of itself.
type State struct {
	Kind     string
	URL      string // without secrets
	Host     string
	Current  *Set // nil: the machine's own rules
	Previous *Set
	Changed  time.Time
	Trial    time.Time // when the trial of the change ends; zero: there is none
	Offered  string    // revision that is published, as far as it was verified
	Percent  int       // of the hosts that shall use it
	Drift    string    // why this host does not use it, "" when it does
	Held     *Held
	Checked  time.Time // last look that found an answer to believe
	Looks    uint64
	Failures uint64 // looks that failed
	Refused  uint64 // looks that found what may not be used
	Returns  uint64 // to the set before
	Error    string // of the last look

	failed int // looks in a row
	told   string
	stale  bool
}

// State is a copy.
func (s *Source) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.state
	out.Current, out.Previous, out.Changed, out.Held = s.kept.Current, s.kept.Previous, s.kept.Changed, s.kept.Held
	if s.kept.Trial {
		out.Trial = s.kept.Changed.Add(s.cfg.Trial)
	}
	out.Drift = s.drift()
	return out
}

// drift says why the host is not where the publisher wants it. The caller holds
// mu.
func (s *Source) drift() string {
	current := s.kept.Current
	switch {
	case s.state.Error != "":
		return s.state.Error
	case current == nil:
		return "nothing has been fetched yet: the machine's own rules are used"
	case !current.Expires.IsZero() && s.deps.Now().After(current.Expires):
		return "the rules in use have expired, and no newer ones are published"
	case s.used != "" && s.used != current.Digest:
		return "the engine uses other rules: 'snitch status' says why"
	}
	return ""
}

// looked keeps how a look went, and tells what changed: once for the same words.
// The caller holds turn.
func (s *Source) looked(err error) {
	var refused *refusal
	now := s.deps.Now()
	s.mu.Lock()
	st := &s.state
	st.Looks++
	before := st.told
	st.Error, st.told = "", ""
	if err != nil {
		st.Error, st.told = err.Error(), err.Error()
	}
	answered := err == nil || errors.Is(err, errLater) || errors.Is(err, errNotLoaded) || errors.As(err, &refused)
	switch {
	case answered:
		st.Checked, st.failed, st.stale = now, 0, false
	default:
		st.Failures++
		st.failed++
	}
	if refused != nil {
		st.Refused++
	}
	stale := !answered && !st.stale && !st.Checked.IsZero() && now.Sub(st.Checked) > staleAfter
	st.stale = st.stale || stale
	told, offered, checked := st.told, st.Offered, st.Checked
	s.mu.Unlock()
	if answered {
		s.reached()
	}
	if stale {
		s.alert("stale", "the source of rules has not been reached since "+checked.Format(time.RFC3339)+": "+told)
	}
	switch {
	case told == before:
	case told == "":
		s.deps.Log.Info("this host uses the published rules again", "revision", offered)
	case errors.Is(err, errLater):
		s.deps.Log.Info("this host does not use the published rules", "revision", offered, "reason", told)
	default:
		s.deps.Log.Warn("this host does not use the published rules", "revision", offered, "reason", told)
		if refused != nil {
			s.alert("refused", told)
		}
	}
}
