package monitor

import (
	"sync"
	"time"

	"snitch/monitor/event"
)

const (
	// maxDenials bounds what was refused since the last turn.
	maxDenials = 16384
	// tellWithin is how long a row that ended without an answer stays open while
	// attempts are refused: why it failed may be on its way.
	tellWithin = time.Second
)

// denials takes what was refused until the next turn. Safe for concurrent use.
type denials struct {
	mu   sync.Mutex
	list []*event.Connection
	lost uint64 // found no room
}

// put keeps c, which is not changed any more.
func (d *denials) put(c *event.Connection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) >= maxDenials {
		d.lost++
		return
	}
	d.list = append(d.list, c)
}

func (d *denials) take() (list []*event.Connection, lost uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list, lost = d.list, d.lost
	d.list, d.lost = nil, 0
	return list, lost
}

// Denied takes an attempt that the kernel refused. It becomes part of the row of
// its socket and peer, or a row of its own where the kernel shows nothing else of
// it (a datagram that was not sent). c is the monitor's then. It never blocks;
// what finds no room is counted. Safe for concurrent use.
func (m *Monitor) Denied(c *event.Connection) { m.refused.put(c) }

// deny merges what was refused since the last turn.
func (m *Monitor) deny() {
	list, lost := m.refused.take()
	if lost > 0 {
		m.deps.Losses.Count(event.LossDenials, lost)
	}
	for _, c := range list {
		row, fresh := m.conns.deny(c, &m.clock)
		if !fresh {
			continue
		}
		m.now.Connections++
		row.Process = m.deps.Processes.Lookup(row.key.ID)
		row.Cgroup = row.Process.Cgroup
		m.Complete(&row.Connection)
	}
}

// deny merges one refusal; fresh says that the row is new.
func (t *connections) deny(c *event.Connection, clock *clock) (row *connection, fresh bool) {
	row = t.attempt(c)
	if row == nil {
		boot := uint64(c.Opened.UnixNano() - clock.offset)
		row = t.insert(&event.Flow{FlowKey: denialKey(c), Family: c.Family, Local: c.Local, FirstBoot: boot, NetNS: c.NetNS, UID: c.UID,
			RecvFirst: c.Direction == event.In}, clock)
		row.Process, row.bare, fresh = c.Process, true, true
	}
	row.denied, row.Result, row.Decision = true, event.ResultDenied, c.Decision
	if c.Last.After(row.Last) {
		row.Last = c.Last
	}
	t.touch(row)
	return row, fresh
}

// attempt finds the row of the same socket, process and peer.
func (t *connections) attempt(c *event.Connection) *connection {
	if row := t.rows[denialKey(c)]; row != nil {
		return row
	}
	if c.Cookie == 0 {
		return nil
	}
	for _, row := range t.byCookie[c.Cookie] {
		if row.Remote == c.Remote && row.key.ID == c.Process.ID && row.Direction == c.Direction {
			return row
		}
	}
	return nil
}

// denialKey is the key that the kernel's own flow of the attempt has, should it
// come.
func denialKey(c *event.Connection) event.FlowKey {
	return event.FlowKey{ID: c.Process.ID, Cookie: c.Cookie, Remote: c.Remote, Proto: c.Proto, Kind: denialKind(c)}
}

func denialKind(c *event.Connection) event.FlowKind {
	switch {
	case c.Direction == event.Listen:
		return event.FlowListen
	case c.Family != event.AFInet && c.Family != event.AFInet6:
		return event.FlowPacket
	}
	switch c.Proto {
	case event.ProtoUDP, event.ProtoUDPLite:
		return event.FlowDatagram
	case event.ProtoTCP, event.ProtoMPTCP, event.ProtoSCTP:
		if c.Direction == event.In {
			return event.FlowAccept
		}
		return event.FlowConnect
	}
	return event.FlowRaw
}

// resume ends a refusal: bytes moved since, the rules are others now.
func (r *connection) resume(f *event.Flow) {
	if f.SentOps+f.RecvOps > 0 && !isStream(r) {
		r.denied, r.Decision = false, event.Decision{}
	}
}

// unanswered reports whether the row may be an attempt that was refused, and
// nobody said so yet.
func (r *connection) unanswered() bool {
	if r.denied || r.Direction != event.Out || r.Packets > 0 {
		return false
	}
	switch r.Result {
	case event.ResultPending, event.ResultFailed, event.ResultAborted, event.ResultTimeout:
		return true
	}
	return false
}
