package remote

import (
	"context"
	"fmt"
	"math"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

// take writes parcels into the file.
func (m *Mirror) take(ctx context.Context, list []arrival) error {
	for len(list) > 0 {
		n, rows := 0, 0
		for n < len(list) && n < readKeys && (n == 0 || rows+list[n].rows <= readRows) {
			rows += list[n].rows
			n++
		}
		if err := m.takeSome(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return m.flush(ctx)
}

// takeSome reads the rows of parcels and hands them to the store. The parcels
// count as read once all of their rows were.
func (m *Mirror) takeSome(ctx context.Context, list []arrival) error {
	within, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	rows := make(map[string][]any, len(list))
	for _, name := range []string{"snitch_connection", "snitch_loss"} {
		err := m.db.rowsOf(within, m.tables[name], list, func(key string, row any) { rows[key] = append(rows[key], row) })
		if err != nil {
			return err
		}
	}
	for i := range list {
		if err := m.parcel(ctx, &list[i], rows[list[i].key]); err != nil {
			return err
		}
	}
	return nil
}

// parcel hands one parcel to the store, with the time when it was written: so the
// sums of a minute are of that minute.
func (m *Mirror) parcel(ctx context.Context, a *arrival, rows []any) error {
	at := a.written
	if now := time.Now(); at.After(now) {
		at = now
	}
	if hour := at.Unix() / 3600; hour != m.batch.hour || m.batch.rows >= readRows {
		if err := m.flush(ctx); err != nil {
			return err
		}
		m.batch.hour = hour
		m.at(at)
	}
	h := m.hosts[a.host]
	b := store.Batch{Time: at}
	for _, row := range rows {
		switch r := row.(type) {
		case *connection:
			if c, ok := m.grow(h, a.host, r); ok {
				b.Connections = append(b.Connections, c)
			}
		case *loss:
			b.Losses = append(b.Losses, m.words.loss(r, a.host))
		}
	}
	m.store.Append(b)
	m.batch.rows += len(rows)
	h.known[a.key] = a.written
	if at.After(h.written) || at.Equal(h.written) && a.key > h.key {
		h.written, h.key = at, a.key
	}
	if at.After(h.last) {
		h.last = at
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Parcels++
	m.status.Rows += uint64(len(b.Connections))
	return nil
}

// grow makes the totals so far of what is new of a connection; ok is false for
// one of which nothing moved within the window.
func (m *Mirror) grow(h *mirrored, host string, r *connection) (c event.Connection, ok bool) {
	key := connKey{host, r.Run, r.ID}
	g := h.open[key]
	if g == nil || r.First { // a host that lost its record begins to count anew
		if !r.First && r.Sent <= 0 && r.Received <= 0 {
			return c, false
		}
		m.next++
		g = &grown{id: m.next}
		h.open[key] = g
	}
	g.sent, g.received, g.packets = plus(g.sent, r.Sent), plus(g.received, r.Received), plus(g.packets, r.Packets)
	c = m.words.connection(r)
	c.ID, c.Host = g.id, host
	c.Sent, c.Received, c.Packets = g.sent, g.received, g.packets
	if r.Closed {
		m.retire(key)
	}
	return c, true
}

// plus ends at what the file can hold.
func plus(sum uint64, n int64) uint64 { return min(sum+amount(n), math.MaxInt64) }

// retire notes that a connection closed; corrections of the last ones may follow.
func (m *Mirror) retire(key connKey) {
	if len(m.closed) < closedKept {
		m.closed = append(m.closed, key)
		return
	}
	if old := m.closed[m.oldest]; old != key && m.hosts[old.host] != nil {
		delete(m.hosts[old.host].open, old)
	}
	m.closed[m.oldest] = key
	m.oldest = (m.oldest + 1) % closedKept
}

// flush writes what was handed over.
func (m *Mirror) flush(ctx context.Context) error {
	m.batch.rows = 0
	if err := m.store.Flush(ctx); err != nil {
		return fmt.Errorf("write the copy of the record: %w", err)
	}
	return nil
}

// forget leaves of the known parcels those that are listed again.
func (h *mirrored) forget() {
	for key, written := range h.known {
		if written.Before(h.written.Add(-stepBack)) {
			delete(h.known, key)
		}
	}
}
