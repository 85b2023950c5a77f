package store

import (
	"maps"

	"snitch/monitor/event"
)

// closedKept is for how many closed connections a late correction is still
// recognised.
const closedKept = event.CorrectionsKept

// lossKept bounds the distinct losses that wait; further ones are added to a
// row of their cause.
const lossKept = 1024

// totals are the bytes of one connection.
type totals struct{ sent, received uint64 }

// written is what the database holds of one connection of this run.
type written struct {
	totals
	opened  int64 // with run and ID the key of its row
	closed  bool
	packets uint64
	// denied and would are what the sums count of its decision: one that comes
	// late, or is made again, changes them.
	denied, would bool
	// undecided is what the sums of the last minute have of it without a
	// decision; nil when there is one.
	undecided *undecided
}

// pending is a snapshot that waits, with the minute in which it came: its
// bytes since the last snapshot belong to that minute.
type pending struct {
	conn   event.Connection
	minute int64
}

// queue holds what waits for a commit, oldest first, and what is known of the
// connections that the database holds. It is guarded by Store.mu.
//
// Snapshots of one connection in one minute are merged; totals make an earlier
// one needless. An older one that is dropped is lost only when no later one
// comes: for an open connection the bytes are owed until then.
type queue struct {
	max    int
	rows   []pending
	first  int64            // number of rows[0]; numbers never repeat
	latest map[uint64]int64 // connection ID → number of its latest row
	execs  []event.ExecSeen
	losses []event.Loss
	extras extras

	known map[uint64]written
	// parted is what other hosts were told of connections before the file was
	// lost; nil unless something leaves the host.
	parted map[uint64]written
	flight map[uint64]totals // in the transaction that runs now
	owed   map[uint64]totals // dropped snapshots of open connections
	closed []uint64          // ring of closedKept closed connections in known
	oldest int               // next place in closed
}

func newQueue(limit int) queue {
	return queue{max: limit, latest: make(map[uint64]int64), known: make(map[uint64]written),
		flight: make(map[uint64]totals), owed: make(map[uint64]totals)}
}

// dropped counts what a queue could not keep.
type dropped struct{ rows, bytes, sent, received uint64 }

func (d *dropped) add(n totals) {
	d.sent, d.received, d.bytes = d.sent+n.sent, d.received+n.received, d.bytes+n.sent+n.received
}

// waiting is how many snapshots and execs wait.
func (q *queue) waiting() int { return len(q.rows) + len(q.execs) }

// push takes in one snapshot.
func (q *queue) push(c event.Connection, minute int64) {
	delete(q.owed, c.ID)
	if n, ok := q.latest[c.ID]; ok {
		if row := &q.rows[n-q.first]; row.minute == minute {
			row.conn = c
			return
		}
	}
	q.latest[c.ID] = q.first + int64(len(q.rows))
	q.rows = append(q.rows, pending{conn: c, minute: minute})
}

// pushLoss merges losses that differ in time and number only.
func (q *queue) pushLoss(l event.Loss) {
	merge := func(i int) {
		have := &q.losses[i]
		have.Count, have.Sent, have.Received = have.Count+l.Count, have.Sent+l.Sent, have.Received+l.Received
	}
	for i, have := range q.losses {
		if have.Cause == l.Cause && have.Process == l.Process && have.Detail == l.Detail {
			merge(i)
			return
		}
	}
	if len(q.losses) < lossKept {
		q.losses = append(q.losses, l)
		return
	}
	l.Process, l.Detail = nil, "" // too many at once to tell them apart
	for i, have := range q.losses {
		if have.Cause == l.Cause && have.Process == nil && have.Detail == "" {
			merge(i)
			return
		}
	}
	q.losses = append(q.losses, l) // once per cause
}

// shed drops the oldest rows and execs beyond the bound.
func (q *queue) shed() (d dropped) {
	for len(q.rows) > q.max {
		q.evict(&d)
	}
	if over := len(q.execs) - q.max; over > 0 {
		clear(q.execs[:over])
		q.execs = q.execs[over:]
		d.rows += uint64(over)
	}
	return d
}

// evict drops the oldest snapshot and counts it if nothing will replace it.
func (q *queue) evict(d *dropped) {
	row, number := q.rows[0], q.first
	q.rows[0] = pending{}
	q.rows, q.first = q.rows[1:], q.first+1
	id := row.conn.ID
	if q.latest[id] != number {
		return // a later snapshot waits
	}
	delete(q.latest, id)
	have := totals{sent: row.conn.Sent, received: row.conn.Received}
	if !row.conn.Closed {
		// One that came back from a failed transaction may be older than what
		// is owed already.
		old := q.owed[id]
		q.owed[id] = totals{sent: max(old.sent, have.sent), received: max(old.received, have.received)}
		return
	}
	d.rows++
	d.add(q.unwritten(id, have))
	_, flying := q.flight[id]
	if k, ok := q.known[id]; flying || (ok && !k.closed) {
		q.retire(id)
	}
}

// unwritten is what of have neither the file nor the running transaction has.
func (q *queue) unwritten(id uint64, have totals) totals {
	base := q.known[id].totals
	if f, ok := q.flight[id]; ok {
		base = f
	}
	return since(have, base)
}

// since is now minus before; a counter that went back counts nothing.
func since(now, before totals) totals {
	return totals{sent: now.sent - min(now.sent, before.sent), received: now.received - min(now.received, before.received)}
}

// retire notes that a connection closed; the oldest of them is forgotten.
func (q *queue) retire(id uint64) {
	if len(q.closed) < closedKept {
		q.closed = append(q.closed, id)
		return
	}
	if old := q.closed[q.oldest]; old != id {
		delete(q.known, old)
	}
	q.closed[q.oldest] = id
	q.oldest = (q.oldest + 1) % closedKept
}

// work is what one transaction writes.
type work struct {
	rows   []pending
	execs  []event.ExecSeen
	losses []event.Loss
	extras extras
	known  map[uint64]written // of the connections in rows, before
	parted map[uint64]written // of those of which a lost file knew; nil if there are none
	next   map[uint64]written // and after
}

func (w *work) empty() bool { return len(w.rows)+len(w.execs)+len(w.losses) == 0 && w.extras.empty() }

// take hands out up to n of each kind; they count as in flight until done or
// putBack.
func (q *queue) take(n int) *work {
	w := &work{known: make(map[uint64]written)}
	w.rows, q.rows = split(q.rows, n)
	w.execs, q.execs = split(q.execs, n)
	w.losses, q.losses = split(q.losses, n)
	w.extras, q.extras = q.extras, extras{}
	for i := range w.rows {
		c := &w.rows[i].conn
		if number := q.first + int64(i); q.latest[c.ID] == number {
			delete(q.latest, c.ID)
		}
		if k, ok := q.known[c.ID]; ok {
			w.known[c.ID] = k
		}
		q.part(w, c.ID)
		q.flight[c.ID] = totals{sent: c.Sent, received: c.Received}
	}
	q.first += int64(len(w.rows))
	return w
}

func split[T any](s []T, n int) (head, tail []T) {
	if len(s) <= n {
		return s, nil
	}
	return s[:n:n], s[n:]
}

// done notes that the work is in the file.
func (q *queue) done(w *work) {
	clear(q.flight)
	for id, k := range w.next {
		if k.closed && !q.known[id].closed {
			q.retire(id)
		}
		q.known[id] = k
		delete(q.parted, id)
	}
}

// putBack returns work that could not be written to the front of the queue.
func (q *queue) putBack(w *work) {
	clear(q.flight)
	rows := make([]pending, 0, len(w.rows)+len(q.rows))
	for i := range w.rows {
		id := w.rows[i].conn.ID
		if n, ok := q.latest[id]; ok && q.rows[n-q.first].minute == w.rows[i].minute {
			continue // merged, as push does
		}
		rows = append(rows, w.rows[i])
	}
	q.rows = append(rows, q.rows...)
	q.first -= int64(len(rows))
	for i := range rows {
		id := rows[i].conn.ID
		if number := q.first + int64(i); q.latest[id] < number || !q.has(id) {
			q.latest[id] = number
		}
	}
	q.execs = append(w.execs, q.execs...)
	q.extras = w.extras.followed(q.extras)
	later := q.losses
	q.losses = w.losses
	for _, l := range later {
		q.pushLoss(l)
	}
}

func (q *queue) has(id uint64) bool { _, ok := q.latest[id]; return ok }

// part notes in w what other hosts were told of a connection of a lost file.
func (q *queue) part(w *work, id uint64) {
	k, ok := q.parted[id]
	if !ok {
		return
	}
	if w.parted == nil {
		w.parted = make(map[uint64]written)
	}
	w.parted[id] = k
}

// forget drops what is known of the file: it is a new one. What other hosts
// were told they still know.
func (q *queue) forget(tells bool) {
	if tells {
		if q.parted == nil {
			q.parted = make(map[uint64]written)
		}
		maps.Copy(q.parted, q.known)
	}
	clear(q.known)
	q.closed, q.oldest = nil, 0
}

// abandon counts everything that waits or is owed as lost: the end of a run
// whose last commit failed.
func (q *queue) abandon() (d dropped) {
	for len(q.rows) > 0 {
		q.evict(&d)
	}
	for id, have := range q.owed {
		d.rows++
		d.add(q.unwritten(id, have))
	}
	clear(q.owed)
	d.rows += uint64(len(q.execs))
	q.execs = nil
	return d
}
