package enforce

import (
	"fmt"

	"snitch/monitor/event"
	"snitch/policy/rule"

	"time"
)

// Source is where the mode in effect comes from.
type Source uint8

// Sources, the strongest last.
const (
	SourceInvalid Source = 0
	SourceConfig  Source = 1 // the configuration
	SourceSaved   Source = 2 // enforce on, enforce off, or a roll-back
	SourceFlag    Source = 3 // --mode
	SourcePanic   Source = 4 // enforce panic
)

var sourceNames = [...]string{"invalid", "configuration", "enforce on/off", "--mode", "enforce panic"}

// String is the name that status shows.
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return fmt.Sprintf("source(%d)", uint8(s))
}

// Fail is what the configuration wants of connections when no living daemon
// answers for them.
type Fail uint8

// Values of Fail.
const (
	FailInvalid Fail = 0
	FailAuto    Fail = 1 // closed when everything is confined, else open
	FailOpen    Fail = 2
	FailClosed  Fail = 3
)

var failNames = [...]string{"invalid", "auto", "open", "closed"}

// String is the name that configuration and status use.
func (f Fail) String() string {
	if int(f) < len(failNames) {
		return failNames[f]
	}
	return fmt.Sprintf("fail(%d)", uint8(f))
}

// ParseFail reads what String writes.
func ParseFail(s string) (Fail, error) {
	for i, name := range failNames[1:] {
		if name == s {
			return Fail(i + 1), nil
		}
	}
	return FailInvalid, fmt.Errorf("%q is not one of auto, open, closed", s)
}

// closed decides the fail mode for a set of rules at now.
func (f Fail) closed(set *rule.Set, now time.Time) bool {
	switch f {
	case FailClosed:
		return true
	case FailAuto:
		return ConfinesAll(set, now)
	}
	return false
}

// ConfinesAll reports whether everything on the host is confined: the classic
// default-deny. An entry with exceptions leaves something out, and still means
// the rest of the host.
func ConfinesAll(set *rule.Set, now time.Time) bool {
	for i := range set.Confine {
		c := &set.Confine[i]
		if c.Process == nil && c.Mode == event.ModeEnforce && (c.Expires.IsZero() || now.Before(c.Expires)) {
			return true
		}
	}
	return false
}

// grants reports whether an allow rule of mode enforce holds at now, protected
// ones aside.
func grants(set *rule.Set, now time.Time) bool {
	for i := range set.Rules {
		r := &set.Rules[i]
		if r.Action == event.ActionAllow && r.Mode == event.ModeEnforce && (r.Expires.IsZero() || now.Before(r.Expires)) && !IsProtected(r.ID) {
			return true
		}
	}
	return len(set.Modules) > 0 // custom Rego may grant
}

// LocksOut reports whether a set denies all of the host everything.
func LocksOut(set *rule.Set, now time.Time) bool { return ConfinesAll(set, now) && !grants(set, now) }
