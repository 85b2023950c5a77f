package event

import "time"

// Action is what policy wants or what happened.
type Action uint8

// Actions; the numbers are stored.
const (
	ActionNone      Action = 0 // there is no policy engine
	ActionAllow     Action = 1
	ActionAlert     Action = 2
	ActionDeny      Action = 3
	ActionUndecided Action = 4 // recorded before the decision came
)

var actionNames = [...]string{"none", "allow", "alert", "deny", "undecided"}

// String is the name that rules and log use.
func (a Action) String() string { return enumName(actionNames[:], int(a)) }

// Mode caps what decisions may do.
type Mode uint8

// Modes; the numbers are stored.
const (
	ModeInvalid Mode = 0
	ModeAudit   Mode = 1 // record and alert, never deny
	ModeEnforce Mode = 2
)

var modeNames = [...]string{"invalid", "audit", "enforce"}

// String is the name that configuration and log use.
func (m Mode) String() string { return enumName(modeNames[:], int(m)) }

// Decision is policy's answer for one connection.
type Decision struct {
	Action   Action // what happened, capped by Mode
	Would    Action // what the rules said, uncapped
	Mode     Mode
	Rule     string   // id of the winner, "" if no rule matched
	Matches  []string // ids of all matching rules
	Revision string   // of the rule set
	Reason   string   // of the winner
	Pos      string   // of the winner, file:line; "" if no rule matched
	Capped   bool     // Action is milder than Would: Mode wants it so, or the kernel refused nothing
	// Provisional says that a fact was still being looked for: another decision
	// follows if it arrives.
	Provisional bool
	// Error is the short, constant name of what the evaluator could not do
	// ("evaluator_error"), "" when it answered; Would is the fall-back then.
	Error string
	At    time.Time // when it was made; zero: never
	// Input is the digest of the facts that it was made from (policy/history's
	// Digest), 0 when none was made. The record replays a decision only if the
	// facts that it kept have this digest.
	Input uint64
	// Previous is the first decision of a connection whose facts arrived later
	// and led to another one; nil when this is the first. Its own Previous, At
	// and Input are not recorded.
	Previous *Decision
}
