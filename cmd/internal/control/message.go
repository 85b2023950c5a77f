package control

import "snitch/monitor/event"

// Types of Message.
const (
	TypeHello      = "hello"      // first message of a feed
	TypeConnection = "connection" // a snapshot; a later one with the same ID and Record.Time replaces it
	TypeLost       = "lost"       // Lost messages did not reach this client
	TypePing       = "ping"       // nothing happened, the feed is alive
	TypeBye        = "bye"        // the daemon ends
)

// Message is one line of /v1/live.
type Message struct {
	Type   string        `json:"type"`
	ID     uint64        `json:"id,omitempty"`     // of the connection within one run of the daemon
	Closed bool          `json:"closed,omitempty"` // no further snapshot follows
	Record *event.Record `json:"record,omitempty"`
	Lost   uint64        `json:"lost,omitempty"`
}
