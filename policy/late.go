package policy

import "snitch/monitor/event"

// Bounds of the rows that wait for their decision.
const (
	maxLate  = 65536
	lateWork = 4096 // of them in one batch
	// horizon is for how many closed rows after a row closed the record still
	// takes a correction of it.
	horizon = event.CorrectionsKept / 2
)

// lateRow is a row that OPA had no time for.
type lateRow struct {
	conn event.Connection
	turn uint64 // how many rows had closed by then
}

// late are the rows that wait, the oldest first. The goroutine of Batch owns it.
type late struct {
	rows   map[uint64]*lateRow
	order  []uint64 // ids by age; some were decided since
	closed uint64   // rows that closed so far
}

func newLate() late { return late{rows: map[uint64]*lateRow{}} }

// put keeps a copy of c, in the place of an older snapshot. It fails when there
// is no room.
func (l *late) put(c *event.Connection) bool {
	if r := l.rows[c.ID]; r != nil {
		r.conn, r.turn = *c, l.closed
		return true
	}
	if len(l.rows) >= maxLate {
		return false
	}
	l.rows[c.ID] = &lateRow{*c, l.closed}
	l.order = append(l.order, c.ID)
	return true
}

// drop forgets the snapshot of a row of which there is a newer one.
func (l *late) drop(id uint64) { delete(l.rows, id) }

// take hands out the oldest row, nil when there is none; lost says that it is
// too old for the record to take a correction.
func (l *late) take() (c *event.Connection, lost bool) {
	for len(l.order) > 0 {
		id := l.order[0]
		l.order = l.order[1:]
		if len(l.order) == 0 {
			l.order = nil // a flood is over
		}
		if r := l.rows[id]; r != nil {
			delete(l.rows, id)
			return &r.conn, r.conn.Closed && l.closed-r.turn > horizon
		}
	}
	return nil, false
}
