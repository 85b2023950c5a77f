package enforce

import (
	"context"
	"time"

	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
)

// Desired is everything that a Backend needs to know, whole: it holds no part
// of an earlier one that this one does not have.
type Desired struct {
	// Mode is ModeEnforce, or ModeAudit: then nothing is denied, held or pinned,
	// and what an earlier Desired put into the kernel is removed.
	Mode event.Mode
	// Policy is the rules, protected ones merged in. A backend reads Policy.Set,
	// which is immutable, and makes its tables of it; it neither decides with
	// the Policy (Decider does) nor closes it. Never nil in ModeEnforce.
	Policy *policy.Policy
	// FailClosed says that what no living daemon answers is denied; else it is
	// allowed. It never speaks of what the tables decide by themselves while the
	// daemon lives.
	FailClosed bool
	Hold       HoldConfig
	// Scope is the cgroup v2 directory whose sockets may be denied, absolute; ""
	// is all of the host.
	Scope string
}

// HoldConfig bounds how long a connection waits for its decision.
type HoldConfig struct {
	Deadline   time.Duration // from the first packet on; > 0
	AtDeadline event.Action  // ActionAllow or ActionDeny, of what nobody decided by then
}

// Backend puts verdicts into the kernel. The Controller never calls two of Set
// and Close at a time; Status may be called at any time, by any goroutine.
type Backend interface {
	// Set makes d hold, idempotently: tables of a new generation are filled and
	// then swapped, so that at no moment half of two policies holds. On an
	// error, what held before still holds. ctx bounds the work, not the state.
	Set(ctx context.Context, d Desired) error
	Status() Status
	// Close ends the backend's goroutines and gives its descriptors back. With
	// leave, pinned state stays, and from the missed heartbeat on the kernel does
	// as the last Desired's FailClosed says, where that is open after HandOver
	// (only who hands over leaves such a state); without, nothing stays.
	Close(ctx context.Context, leave bool) error
}

// Beater is a Backend whose kernel side falls to the fail mode by itself when
// it is not told any more that the daemon is well.
type Beater interface {
	// Beat says that the daemon is well now. It is called every BeatEvery and
	// neither blocks nor allocates.
	Beat() error
}

// Heartbeats. The kernel side compares with CLOCK_MONOTONIC, which stands still
// in suspend.
const (
	BeatEvery   = 500 * time.Millisecond
	BeatTimeout = 3 * time.Second // without one the daemon counts as dead
	// HandOver is how long a daemon that leaves for another has none: what fails
	// open goes on to deny for so long.
	HandOver = 30 * time.Second
)

// Subjects is told who lives, in order for any one process, whatever the mode.
// A backend that has it classifies processes before their first connection.
type Subjects interface {
	// Process tells of a new image or of a new fact about a known one; p is
	// immutable. It does not block.
	Process(p *event.Process)
	// Gone tells that an image will not act any more.
	Gone(id event.ProcessID)
}

// Decider answers what the tables cannot (*policy.Engine is one). It is safe
// for concurrent use; a caller that does not wait longer applies HoldConfig.
type Decider interface {
	Decide(ctx context.Context, c *event.Connection) (rule.Decision, event.Decision)
}

// Recorder takes what a backend saw into the record. Its methods are safe for
// concurrent use, never block, and count what they could not keep.
type Recorder interface {
	// Denied is an attempt that the kernel or the backend refused: Result is
	// ResultDenied and Decision names the rule. c belongs to the recorder then.
	Denied(c *event.Connection)
	// Alert is what people should know of the backend itself.
	Alert(a event.Alert)
}

// Status is what a backend does, as status shows it.
type Status struct {
	Backend    string     // "cgroup" or "nft"
	Mode       event.Mode // that the kernel has now: of the last Set that succeeded
	Generation uint64     // of the tables, raised by each swap
	Revision   string     // of the rules in the tables
	FailClosed bool       // as the kernel has it now
	Hooks      []string   // what is attached, for people: "cgroup/connect4 at /sys/fs/cgroup"
	Hold       string     // how connections are held: "nfqueue", "syn-drop", "none"
	Classes    int        // of subjects
	Entries    int        // of the verdict tables
	Denied     uint64     // attempts and packets refused, since the backend began
	Held       uint64     // that waited for a decision
	Expired    uint64     // of these, that got AtDeadline
	Waiting    int        // that wait now
	Lost       uint64     // verdict events that the record did not get
	// Unheld are rules of the last Set, of whatever mode, that this backend
	// cannot honour, or only in part: what they would deny passes. Shown, and
	// refused by `enforce on` unless forced.
	Unheld  []Unheld
	Problem string // why the last Set or the kernel side is not well; "" when it is
}

// Unheld is one rule that a backend cannot honour.
type Unheld struct {
	Rule   string
	Pos    rule.Position
	Reason string // for people: which key, and what the kernel lacks
}
