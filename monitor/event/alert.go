package event

import (
	"net/netip"
	"time"
)

// AlertKind is what an alert is about.
type AlertKind uint8

// Kinds of alert; the numbers are stored.
const (
	AlertInvalid AlertKind = 0
	AlertRule    AlertKind = 1 // a rule said alert or deny
	AlertError   AlertKind = 2 // something of snitch does not work as it should
	AlertConfig  AlertKind = 3 // rules or configuration do not load
	AlertNovelty AlertKind = 4 // a rule that asks for novelty
)

var alertKindNames = [...]string{"invalid", "rule", "error", "config", "novelty"}

// String is the name that commands print.
func (k AlertKind) String() string { return enumName(alertKindNames[:], int(k)) }

// AlertState is what a person did about an alert.
type AlertState uint8

// States of alert; the numbers are stored.
const (
	AlertStateInvalid AlertState = 0
	AlertNew          AlertState = 1 // nobody has acknowledged it
	AlertSeen         AlertState = 2 // acknowledged: what repeats is counted and not told
	AlertResolved     AlertState = 3 // dealt with: if it happens again it is new again
)

var alertStateNames = [...]string{"invalid", "new", "seen", "resolved"}

// String is the name that commands take and print.
func (s AlertState) String() string { return enumName(alertStateNames[:], int(s)) }

// ParseAlertState reads what String writes.
func ParseAlertState(s string) (AlertState, bool) {
	for i := 1; i < len(alertStateNames); i++ {
		if alertStateNames[i] == s {
			return AlertState(i), true
		}
	}
	return AlertStateInvalid, false
}

// MarshalText makes AlertKind a JSON string.
func (k AlertKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalText makes AlertState a JSON string.
func (s AlertState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// AlertKey is what makes two alerts the same one.
type AlertKey struct {
	Kind    AlertKind
	Rule    string // its id; what is wrong, for errors and configuration
	Program string // SHA-256 of the executable in hexadecimal, else its path; "" when no process is involved
	Parent  string // the same of the parent
}

// Alert is one thing that a person should know, however often it happened. The
// example is of the connection with which it began.
type Alert struct {
	ID    int64      `json:"id"` // 0 before it is recorded
	Kind  AlertKind  `json:"kind"`
	State AlertState `json:"state"` // of the record; ignored in what is handed to the store
	// Muted says that repetitions are counted and not told.
	Muted  bool      `json:"muted"`
	Rule   string    `json:"rule"`
	Action string    `json:"action"` // what the rules said, "" without a rule
	Reason string    `json:"reason"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
	Count  uint64    `json:"count"`
	// The example.
	Exe          string    `json:"exe"`
	ExeView      string    `json:"exe_view,omitempty"`
	SHA256       string    `json:"sha256"`
	Cmdline      string    `json:"cmdline"`
	ParentExe    string    `json:"parent_exe"`
	ParentView   string    `json:"parent_view,omitempty"`
	ParentSHA256 string    `json:"parent_sha256"`
	PID          uint32    `json:"pid"`
	UID          uint32    `json:"uid"`
	User         string    `json:"user"`
	Direction    string    `json:"direction"`
	Proto        string    `json:"proto"`
	Peer         string    `json:"peer"`   // address and port; of a listener its own
	Domain       string    `json:"domain"` // of the peer
	Opened       time.Time `json:"opened"`
}

// NewAlert makes an alert of one occurrence at the given time; c is the
// connection, nil for errors and configuration.
func NewAlert(kind AlertKind, rule string, action Action, reason string, at time.Time, c *Connection) Alert {
	a := Alert{Kind: kind, State: AlertNew, Rule: rule, Reason: reason, First: at, Last: at, Count: 1}
	if c == nil {
		return a
	}
	a.Action, a.UID, a.User, a.Direction = action.String(), c.UID, c.User, c.Direction.String()
	a.Proto, a.Domain, a.Opened = ProtoName(c.Family, c.Proto), c.Name.Domain, c.Opened
	peer := c.Remote
	if c.Direction == Listen {
		peer = c.Local
	}
	a.Peer = peerString(peer)
	if p := c.Process; p != nil {
		a.PID, a.Exe, a.ExeView, a.SHA256, a.Cmdline = p.ID.PID, p.Executable.Path, p.Executable.View, p.Executable.SHA256.String(), p.Cmdline()
		if q := p.Parent; q != nil {
			a.ParentExe, a.ParentView, a.ParentSHA256 = q.Executable.Path, q.Executable.View, q.Executable.SHA256.String()
		}
	}
	return a
}

func peerString(p netip.AddrPort) string {
	switch {
	case !p.Addr().IsValid():
		return ""
	case p.Port() == 0:
		return p.Addr().Unmap().String()
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port()).String()
}

// Key is what a is counted under.
func (a *Alert) Key() AlertKey {
	identity := func(sha, view, path string) string {
		switch {
		case sha != "":
			return sha
		case view != "":
			return view + ":" + path
		}
		return path
	}
	return AlertKey{a.Kind, a.Rule, identity(a.SHA256, a.ExeView, a.Exe), identity(a.ParentSHA256, a.ParentView, a.ParentExe)}
}

// RuleCount is what one rule did, in one batch or since the record began.
type RuleCount struct {
	Rule       string    `json:"rule"`
	Hits       uint64    `json:"hits"` // connections that it matched
	Wins       uint64    `json:"wins"` // of those, decided by it
	WouldDeny  uint64    `json:"would_deny"`
	WouldAlert uint64    `json:"would_alert"`
	Denied     uint64    `json:"denied"`
	Last       time.Time `json:"last"` // hit
}

// Add adds what o counted of the same rule.
func (r *RuleCount) Add(o RuleCount) {
	r.Hits, r.Wins, r.Denied = r.Hits+o.Hits, r.Wins+o.Wins, r.Denied+o.Denied
	r.WouldDeny, r.WouldAlert = r.WouldDeny+o.WouldDeny, r.WouldAlert+o.WouldAlert
	if o.Last.After(r.Last) {
		r.Last = o.Last
	}
}
