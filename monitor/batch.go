package monitor

import (
	"time"

	"snitch/monitor/event"
)

// Batch is what one turn of the monitor found out. It belongs to the sink once
// it was handed over; the connections in it are snapshots.
type Batch struct {
	Time        time.Time
	Connections []event.Connection
	Execs       []event.ExecSeen // every-exec mode only
	Losses      []event.Loss
}

// Stats are counters since the monitor started, as of its last turn.
type Stats struct {
	Execs, Forks, Exits, Payloads uint64
	Flows                         uint64 // deltas read from the kernel
	Connections                   uint64 // rows begun
	Open                          int    // rows that may still change
	Processes                     int
	Sent, Received                uint64 // application bytes recorded in rows
	Losses                        map[event.LossCause]LossTotal
	LastTurn                      time.Duration // how long the last turn took
	LastFlows                     int           // deltas of the last turn
	Turns                         uint64
}

// LossTotal is what was lost by one cause since the start.
type LossTotal struct {
	Count    uint64 `json:"count"`
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
}
