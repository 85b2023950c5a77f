package store

import (
	"time"

	"snitch/monitor/event"
)

// Batch is what the monitor hands over after one drain. The Store keeps the
// values but not the slices; a *event.Process in them must not change.
type Batch struct {
	Time time.Time
	// Connections are snapshots with totals so far. After one with Closed set
	// the store still accepts corrections (a digest that came late) for the
	// last event.CorrectionsKept connections; beyond that the ID must not come again.
	Connections []event.Connection
	Execs       []event.ExecSeen
	Losses      []event.Loss
	// Alerts are occurrences; those with one Key become one row.
	Alerts []event.Alert
	Rules  []event.RuleCount // what the rules did since the last batch
}

// Empty reports whether there is nothing in b.
func (b *Batch) Empty() bool {
	return len(b.Connections) == 0 && len(b.Execs) == 0 && len(b.Losses) == 0 && len(b.Alerts) == 0 && len(b.Rules) == 0
}

// Stats is the state of a Store at one moment.
type Stats struct {
	Rows         uint64        // connections in the file
	Execs        uint64        // rows of the every-executable record in the file
	Bytes        uint64        // size of the file and its write-ahead log
	Batches      uint64        // transactions committed in this run
	Written      uint64        // snapshots and execs committed in this run
	Pending      uint64        // snapshots and execs that wait for a commit
	Lost         uint64        // snapshots and execs that were dropped in this run
	LostBytes    uint64        // bytes of connections that were dropped with them
	Quarantined  uint64        // corrupt files set aside in this run
	Spent        time.Duration // in committing, by the clock on the wall
	LastWrite    time.Time     // of the last successful commit; zero when there was none
	LastError    string        // "" when the last commit succeeded
	LastErrorAt  time.Time
	Retention    Retention
	MaxAge       time.Duration // as configured
	MaxBytes     int64         // as configured
	CheckSkipped bool          // the check at start took too long and was cut short
	Known        Known
	Outbox       OutboxStats
}

// Known is what is remembered for novelty.
type Known struct {
	Programs uint64
	Facts    uint64 // digests, parents, destinations and listeners of them
	Overflow uint64 // facts and programs for which there was no room in this run
}

// Retention is how far the purge has come.
type Retention struct {
	Oldest  time.Time // of the connections in the file; zero when there are none
	Purged  uint64    // rows of the record removed in this run
	Orphans uint64    // interned rows removed in this run
	Behind  bool      // there is more to remove; the purge goes on
	Stuck   bool      // the file is over its bound and nothing more may be removed
}
