package monitor

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"snitch/monitor/event"
)

// Bounds of the table of connections.
const (
	// idleAfter ends rows of datagrams (UDP, raw and packet sockets).
	idleAfter = 2 * time.Minute
	// settleFor is how long an ended row waits for a fact that is still being
	// read (the digest of a file on a slow disk).
	settleFor = 30 * time.Second
	// pieceRows is how many snapshots are handed over at a time, so that the
	// reader of one piece and the maker of the next work together.
	pieceRows = 4096
	// compactFrom is the table that is worth making small again.
	compactFrom = 8192
)

// connection is a row in the making.
type connection struct {
	event.Connection
	key     event.FlowKey
	place   int // in the list of its cookie
	dirty   bool
	ended   bool // the row was idle, or gone
	gone    bool // its socket is closed: nothing can follow
	denied  bool // an attempt was refused, which no flow changes
	bare    bool // no flow was seen yet: only that it was refused is known
	endedAt time.Time
}

// connections is the table of rows that may still change. It has no lock: the
// monitor's goroutine owns it.
type connections struct {
	max       int
	next      uint64
	rows      map[event.FlowKey]*connection
	byCookie  map[uint64][]*connection
	byProcess map[event.ProcessID]map[*connection]struct{}
	dirty     []*connection
	ended     []*connection
	served    echoes // accepted connections that are over
	overflow  uint64 // rows ended early because the table was full
	telling   bool   // refused attempts are told: an attempt that failed may be one
	peak      int    // most rows since the last compact
}

func newConnections(limit int) *connections {
	return &connections{max: limit, rows: map[event.FlowKey]*connection{}, byCookie: map[uint64][]*connection{},
		byProcess: map[event.ProcessID]map[*connection]struct{}{}}
}

// add merges one delta and returns its row; fresh says that its process is
// new to it, and the caller then fills Process, Cgroup and Name. A nil row means
// that there was nothing in it.
func (t *connections) add(f *event.Flow, c *clock) (row *connection, fresh bool) {
	row = t.rows[f.FlowKey]
	if row == nil {
		row = t.inherit(f)
		fresh = true
	}
	if row == nil {
		if t.served.has(f) {
			return nil, false
		}
		row = t.insert(f, c)
	}
	row.Sent += f.Sent
	row.Received += f.Received
	row.Packets += f.SentOps + f.RecvOps
	if last := c.wall(f.LastBoot); last.After(row.Last) {
		row.Last = last
	}
	row.bare = false
	if row.denied {
		row.resume(f)
	}
	if f.Result != event.ResultInvalid && !row.denied {
		row.Result = f.Result
	}
	// The local address is known late: a socket gets its port at connect.
	if f.Local.IsValid() && (f.Local.Port() != 0 || row.Local.Port() == 0) {
		row.Local = f.Local
	}
	if f.NetNS != 0 {
		row.NetNS = f.NetNS
	}
	if f.Closed {
		t.endSocket(row, c.wall(f.LastBoot))
	} else if row.ended && !row.gone {
		row.ended = false // an idle row woke up before it was dropped
	}
	t.touch(row)
	return row, fresh
}

// inherit hands an accepted connection over to the process that serves it. The
// kernel knows only the listener until somebody moves the first byte; a row
// without a byte is nobody's yet.
func (t *connections) inherit(f *event.Flow) *connection {
	if f.Kind != event.FlowAccept {
		return nil
	}
	for _, row := range t.byCookie[f.Cookie] {
		if row.key.Kind == event.FlowAccept && row.Packets == 0 && row.Remote == f.Remote {
			t.unlinkProcess(row)
			delete(t.rows, row.key)
			row.key, row.UID = f.FlowKey, f.UID
			t.rows[row.key] = row
			t.linkProcess(row)
			return row
		}
	}
	return nil
}

func (t *connections) linkProcess(row *connection) {
	of := t.byProcess[row.key.ID]
	if of == nil {
		of = map[*connection]struct{}{}
		t.byProcess[row.key.ID] = of
	}
	of[row] = struct{}{}
}

func (t *connections) unlinkProcess(row *connection) {
	of := t.byProcess[row.key.ID]
	delete(of, row)
	if len(of) == 0 {
		delete(t.byProcess, row.key.ID)
	}
}

func (t *connections) insert(f *event.Flow, c *clock) *connection {
	t.next++
	row := &connection{key: f.FlowKey, Connection: event.Connection{
		ID: t.next, Opened: c.wall(f.FirstBoot), Direction: direction(f), Family: f.Family, Proto: f.Proto,
		Local: f.Local, Remote: f.Remote, Result: f.Result, Cookie: f.Cookie, NetNS: f.NetNS, UID: f.UID, Existing: f.Existing}}
	row.Last = row.Opened
	t.rows[f.FlowKey] = row
	t.peak = max(t.peak, len(t.rows))
	if f.Cookie != 0 {
		siblings := t.byCookie[f.Cookie]
		if len(siblings) > 0 && siblings[0].gone { // its last bytes came in the drain that told the end
			row.endWith(siblings[0])
			t.end(row, row.Opened)
		}
		row.place = len(siblings)
		t.byCookie[f.Cookie] = append(siblings, row)
	}
	t.linkProcess(row)
	return row
}

func direction(f *event.Flow) event.Direction {
	switch f.Kind {
	case event.FlowListen:
		return event.Listen
	case event.FlowAccept:
		return event.In
	case event.FlowDatagram, event.FlowRaw, event.FlowPacket:
		if f.RecvFirst {
			return event.In
		}
	}
	return event.Out
}

// touch marks row for the next batch.
func (t *connections) touch(row *connection) {
	if !row.dirty {
		row.dirty = true
		t.dirty = append(t.dirty, row)
	}
}

// touchAll marks every row.
func (t *connections) touchAll() {
	for _, row := range t.rows {
		t.touch(row)
	}
}

// endSocket ends every row of the socket: other processes and other peers used
// it too, and what became of the socket became of their share in it.
func (t *connections) endSocket(row *connection, at time.Time) {
	if row.gone && row.ended {
		return // told before
	}
	row.gone = true
	t.end(row, at)
	for _, other := range t.byCookie[row.Cookie] {
		other.endWith(row)
		t.end(other, at)
	}
}

// endWith takes over how the socket ended.
func (r *connection) endWith(row *connection) {
	r.gone = true
	switch {
	case r.Result != event.ResultEstablished && r.Result != event.ResultPending:
	case !row.denied:
		r.Result = row.Result
	case r.Result == event.ResultEstablished:
		r.Result = event.ResultClosed
	}
}

func (t *connections) end(row *connection, at time.Time) {
	if row.ended {
		return
	}
	row.ended, row.endedAt = true, at
	t.ended = append(t.ended, row)
	t.touch(row)
}

// named marks the rows of a socket whose name was learned.
func (t *connections) named(cookie uint64, visit func(*connection)) {
	for _, row := range t.byCookie[cookie] {
		visit(row)
		t.touch(row)
	}
}

// processChanged gives the open rows of p its newer snapshot.
func (t *connections) processChanged(p *event.Process) {
	for row := range t.byProcess[p.ID] {
		row.Process = p
		t.touch(row)
	}
}

// sweep ends rows of datagrams that were idle: their peers never say goodbye.
// Traffic that comes later begins a new row. Rows whose facts are not complete
// are handed over again.
func (t *connections) sweep(now time.Time) {
	for _, row := range t.rows {
		if row.mayIdle() && !row.ended && now.Sub(row.Last) > idleAfter {
			t.end(row, row.Last)
		}
		if row.Process.Waits() {
			t.touch(row) // who waits for its facts may run out of patience
		}
	}
}

// mayIdle reports whether nobody tells the end of the row: of datagrams, and of
// what was refused before there was anything to end.
func (r *connection) mayIdle() bool {
	if r.bare && r.Direction != event.Out {
		return true
	}
	return !isStream(r) && r.Direction != event.Listen
}

// isStream reports whether the kernel tells the end of the connection.
func isStream(row *connection) bool {
	inet := row.Family == event.AFInet || row.Family == event.AFInet6
	return inet && (row.Proto == event.ProtoTCP || row.Proto == event.ProtoMPTCP || row.Proto == event.ProtoSCTP)
}

// take hands over a snapshot of every row that changed, in pieces that the
// callee keeps, and drops the rows that are over. An ended row stays until its
// facts are complete, but no longer than settleFor; when the table is over its
// bound, all ended rows go at once.
func (t *connections) take(now time.Time, give func([]event.Connection)) {
	full := len(t.rows) > t.max
	t.served.age(now)
	t.finish(now, full)
	var piece []event.Connection
	for i, row := range t.dirty {
		row.dirty = false
		if piece == nil {
			piece = make([]event.Connection, 0, min(pieceRows, len(t.dirty)-i))
		}
		piece = append(piece, row.Connection)
		if len(piece) == cap(piece) {
			give(piece)
			piece = nil
		}
		if row.Closed {
			t.drop(row)
		}
	}
	clear(t.dirty)
	t.dirty = t.dirty[:0]
	if full {
		t.shed(now)
	}
}

// finish closes the ended rows whose facts are complete.
func (t *connections) finish(now time.Time, full bool) {
	waiting := t.ended[:0]
	for _, row := range t.ended {
		switch {
		case !row.ended: // woke up
		case t.telling && !full && row.unanswered() && now.Sub(row.endedAt) < tellWithin:
			waiting = append(waiting, row)
		case full || !row.Process.Waits() || now.Sub(row.endedAt) > settleFor:
			if full && row.Process.Waits() {
				t.overflow++
			}
			row.Closed = true
			t.touch(row)
		default:
			waiting = append(waiting, row)
		}
	}
	clear(t.ended[len(waiting):])
	t.ended = waiting
}

// shed ends rows early when even without the ended ones the table is too
// large: first those that were idle, then any. They leave with the next batch;
// what comes for them later begins new rows.
func (t *connections) shed(now time.Time) {
	for _, idle := range []time.Duration{time.Second, 0} {
		for _, row := range t.rows {
			if len(t.rows)-len(t.ended) <= t.max {
				return
			}
			if !row.ended && row.Direction != event.Listen && now.Sub(row.Last) >= idle {
				t.overflow++
				t.end(row, row.Last)
			}
		}
	}
}

// compact gives back the memory of a flood that is over: maps and slices never
// shrink by themselves.
func (t *connections) compact() {
	if t.peak < compactFrom || len(t.rows) > t.peak/8 {
		t.peak = max(t.peak, len(t.rows))
		return
	}
	t.peak = len(t.rows)
	t.rows, t.byCookie, t.byProcess = copyMap(t.rows), copyMap(t.byCookie), copyMap(t.byProcess)
	t.dirty, t.ended = slices.Clip(slices.Clone(t.dirty)), slices.Clip(slices.Clone(t.ended))
}

func copyMap[K comparable, V any](from map[K]V) map[K]V {
	to := make(map[K]V, len(from))
	maps.Copy(to, from)
	return to
}

func (t *connections) drop(row *connection) {
	t.served.note(row.key)
	delete(t.rows, row.key)
	t.unlinkProcess(row)
	rest := t.byCookie[row.Cookie]
	if len(rest) == 0 {
		return // it has no cookie
	}
	last := len(rest) - 1
	rest[row.place] = rest[last]
	rest[row.place].place = row.place
	rest[last] = nil
	if last == 0 {
		delete(t.byCookie, row.Cookie)
	} else {
		t.byCookie[row.Cookie] = rest[:last]
	}
}

// unsettled reports whether any row still waits for a fact.
func (t *connections) unsettled() bool {
	for _, row := range t.rows {
		if row.Process.Waits() {
			return true
		}
	}
	return false
}

// unspecified is what a socket without a peer has.
func hasPeer(a netip.AddrPort) bool { return a.IsValid() && !a.Addr().IsUnspecified() }
