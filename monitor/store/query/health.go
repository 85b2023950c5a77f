package query

import "time"

// Health is what the record tells of itself, for a range of time.
type Health struct {
	Bytes  uint64    `json:"bytes"` // of the database's files
	Rows   uint64    `json:"rows"`  // connections
	Execs  uint64    `json:"execs"` // rows of the every-executable record
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	Runs   []Run     `json:"runs"`   // of the daemon, within the range, the newest first, at most MaxRuns
	Gaps   []Gap     `json:"gaps"`   // within the range, the newest first, at most MaxRuns
	Losses []LossSum `json:"losses"` // within the range, the largest count first
	Alerts AlertSums `json:"alerts"` // of all times, by state
}

// MaxRuns bounds the runs and gaps of a Health.
const MaxRuns = 100

// Gap is a time in which nothing was watched: between two runs.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Crash  bool      `json:"crash"`  // the run before it did not end in order
	Reboot bool      `json:"reboot"` // the next run was in another boot
}

// LossSum adds up what one cause lost.
type LossSum struct {
	Cause    string    `json:"cause"`
	Count    uint64    `json:"count"`
	Sent     uint64    `json:"sent"` // bytes, where known
	Received uint64    `json:"received"`
	Last     time.Time `json:"last"`
}

// AlertSums counts alerts by state.
type AlertSums struct {
	New      uint64 `json:"new"`
	Seen     uint64 `json:"seen"`
	Resolved uint64 `json:"resolved"`
}
