package export

import "snitch/monitor/event"

// Change is one line about a connection.
type Change struct {
	Event string `json:"event"` // opened, changed or closed
	ID    uint64 `json:"id"`    // unique within one run of the daemon
	event.Record
}

// Events of a Change.
const (
	Opened  = "opened"  // first seen
	Changed = "changed" // another result, decision or name; totals alone are no change
	Closed  = "closed"
)

// maxTold bounds the connections that are remembered; beyond it some are told as
// opened again.
const maxTold = 1 << 18

// changes tells which snapshots are worth a line. It belongs to one goroutine.
type changes struct {
	told map[uint64]told
}

// told is what the last line of an open connection said.
type told struct {
	result event.Result
	action event.Action
	would  event.Action
	domain string
	news   int // how much was new about it
}

func newChanges() *changes { return &changes{told: map[uint64]told{}} }

// of is the event of a snapshot, "" when nothing is worth a line, and what is new
// about it that no line has said.
func (c *changes) of(conn *event.Connection) (what string, news []string) {
	before, known := c.told[conn.ID]
	if before.news < len(conn.Novelty) {
		news = conn.Novelty[before.news:]
	}
	return c.event(conn, before, known), news
}

func (c *changes) event(conn *event.Connection, before told, known bool) string {
	now := told{conn.Result, conn.Decision.Action, conn.Decision.Would, conn.Name.Domain, len(conn.Novelty)}
	switch {
	case conn.Closed:
		delete(c.told, conn.ID)
		return Closed
	case !known:
		if len(c.told) >= maxTold {
			clear(c.told)
		}
		c.told[conn.ID] = now
		return Opened
	case before != now:
		c.told[conn.ID] = now
		return Changed
	}
	return ""
}
