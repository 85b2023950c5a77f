package history

import (
	"context"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Key is what the facts of a row come from: rows of equal keys have equal
// facts, but for the port of the end that began where that was not asked for.
type Key [15]int64

// Lazy is what is read of a row only when no equal one was read before. Its
// methods are called while the row is handed out, never later.
type Lazy interface {
	// Facts are the facts of the row; complete is false when some that rules
	// can read were not recorded.
	Facts() (f rule.Facts, complete bool, err error)
	// Decision is the recorded decision.
	Decision() (event.Decision, error)
}

// Row is one recorded connection. It belongs to the Source.
type Row struct {
	Key            Key
	Opened, Last   int64  // ns since 1970
	At             int64  // of the decision, ns since 1970; 0: not known
	Input          uint64 // digest of the facts of the decision; 0: not known
	Sent, Received uint64
	Decided        int64 // equal numbers are equal decisions
	Lazy
}

// Source hands out the rows of a history.
type Source interface {
	// Rows calls f with each row, until f returns an error, which it returns.
	// With ports, keys tell the ports of the ends that began apart.
	Rows(ctx context.Context, ports bool, f func(*Row) error) error
}

// Sums are what rows add up to.
type Sums struct {
	Connections uint64    `json:"connections"`
	Sent        uint64    `json:"sent"`
	Received    uint64    `json:"received"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
}

func (s *Sums) add(r *Row) {
	s.Connections, s.Sent, s.Received = s.Connections+1, s.Sent+r.Sent, s.Received+r.Received
	if first := time.Unix(0, r.Opened).UTC(); s.First.IsZero() || first.Before(s.First) {
		s.First = first
	}
	if last := time.Unix(0, max(r.Last, r.Opened)).UTC(); last.After(s.Last) {
		s.Last = last
	}
}

func (s *Sums) merge(o Sums) {
	s.Connections, s.Sent, s.Received = s.Connections+o.Connections, s.Sent+o.Sent, s.Received+o.Received
	if s.First.IsZero() || !o.First.IsZero() && o.First.Before(s.First) {
		s.First = o.First
	}
	if o.Last.After(s.Last) {
		s.Last = o.Last
	}
}

// Progress is told how many rows were read so far, now and then.
type Progress func(rows uint64)

// progressEvery is how many rows lie between two calls of Progress.
const progressEvery = 1 << 16
