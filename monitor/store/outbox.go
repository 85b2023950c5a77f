package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// DefaultOutboxBytes bounds what waits to leave the host.
const DefaultOutboxBytes = 256 << 20

// Outbox says how what is written leaves the host: packed inside the transaction
// that writes it, so that the record here and what was told elsewhere cannot
// differ by a crash.
type Outbox struct {
	// Pack makes parcels of what a transaction writes. It is called by the
	// writer, must not call the Store, and keeps nothing of its argument.
	Pack func(*Growth) []Parcel
	// MaxBytes bounds the data that waits; the oldest parcels make room, and are
	// counted as LossRemote. 0 is DefaultOutboxBytes. One transaction more than
	// that may be there for a moment.
	MaxBytes int64
	// Ready is called after a commit that left parcels. It must not block or
	// call the Store. May be nil.
	Ready func()
}

// Growth is what one transaction adds to the record.
type Growth struct {
	Time        time.Time // of the transaction
	Run         int64     // number of this run in the record
	Connections []Grown
	Execs       []event.ExecSeen
	Losses      []event.Loss
	Alerts      []event.Alert // occurrences, Count of them
}

// Grown is one connection and what is new of it: the sums over all of its rows
// are its totals.
type Grown struct {
	*event.Connection
	First                   bool // no row told of it before
	Sent, Received, Packets uint64
}

// Parcel is what leaves the host as one piece.
type Parcel struct {
	ID             int64 // given by the Store
	Key            [16]byte
	Rows           int
	Sent, Received uint64 // bytes that its rows tell of
	Data           []byte
}

// OutboxStats is what waits to leave the host.
type OutboxStats struct {
	Parcels uint64
	Rows    uint64
	Bytes   uint64    // of packed data
	Oldest  time.Time // zero when nothing waits
	Dropped uint64    // rows that never left, in this run
}

// outbox is what the writer remembers of table outbox. It belongs to who holds
// Store.writeMu.
type outbox struct {
	cfg    Outbox
	waits  OutboxStats // without Oldest and Dropped
	flying int64       // parcel that is under way, which may have arrived
}

// shipment is what a transaction does to the outbox.
type shipment struct {
	grown   []Grown
	parcels int
	change  OutboxStats // of what waits, modulo 2^64
	dropped event.Loss
}

func newOutbox(cfg *Outbox) *outbox {
	if cfg == nil {
		return nil
	}
	o := &outbox{cfg: *cfg}
	setDefault(&o.cfg.MaxBytes, DefaultOutboxBytes)
	return o
}

func (o *outbox) load(c *conn) error {
	for _, n := range []struct {
		to  *uint64
		sql string
	}{
		{&o.waits.Parcels, "SELECT count(*) FROM outbox"},
		{&o.waits.Rows, "SELECT ifnull(sum(rows), 0) FROM outbox"},
		{&o.waits.Bytes, "SELECT ifnull(sum(length(data)), 0) FROM outbox"},
	} {
		v, _, err := c.number(n.sql)
		if err != nil {
			return fmt.Errorf("read outbox: %w", err)
		}
		*n.to = uint64(v)
	}
	return nil
}

func (o *outbox) advance(s *shipment) {
	o.waits.Parcels += s.change.Parcels
	o.waits.Rows += s.change.Rows
	o.waits.Bytes += s.change.Bytes
}

// grew notes what is new of a connection.
func (t *txn) grew(c *event.Connection, before, now written, known bool) {
	if t.w.outbox == nil {
		return
	}
	if !known {
		before, known = t.work.parted[c.ID] // its rows were in a file that was lost
	}
	delta := since(now.totals, before.totals)
	t.shipment.grown = append(t.shipment.grown, Grown{Connection: c, First: !known, Sent: delta.sent, Received: delta.received,
		Packets: now.packets - min(now.packets, before.packets)})
}

// ship packs what the transaction wrote.
func (t *txn) ship(now time.Time) error {
	if t.w.outbox == nil {
		return nil
	}
	if err := t.makeRoom(now); err != nil {
		return fmt.Errorf("bound outbox: %w", err)
	}
	losses := t.work.losses
	if l := t.shipment.dropped; l.Count > 0 {
		losses = append(losses[:len(losses):len(losses)], l)
	}
	parcels := t.w.outbox.cfg.Pack(&Growth{Time: now, Run: t.w.run, Connections: t.shipment.grown, Execs: t.work.execs, Losses: losses, Alerts: t.work.extras.alerts})
	for i := range parcels {
		p := &parcels[i]
		_, err := t.w.c.exec("INSERT INTO outbox (key, time, rows, sent, received, data) VALUES (?, ?, ?, ?, ?, ?)", p.Key[:], schema.FromTime(now),
			int64(p.Rows), schema.FromCount(p.Sent), schema.FromCount(p.Received), p.Data)
		if err != nil {
			return fmt.Errorf("write outbox: %w", err)
		}
		t.shipment.change.Parcels++
		t.shipment.change.Rows += uint64(p.Rows)
		t.shipment.change.Bytes += uint64(len(p.Data))
	}
	t.shipment.parcels, t.shipment.grown = len(parcels), nil
	return nil
}

// makeRoom drops the oldest parcels while more waits than the bound, and books
// them as lost in the same transaction.
func (t *txn) makeRoom(now time.Time) error {
	o, s := t.w.outbox, &t.shipment
	for o.waits.Bytes+s.change.Bytes > uint64(o.cfg.MaxBytes) {
		var id int64
		err := t.w.c.rows(context.Background(), "SELECT id, rows, length(data), sent, received FROM outbox WHERE id != ? ORDER BY id LIMIT 1", func(row []driver.Value) error {
			n := [5]int64{}
			for i := range n {
				n[i], _ = row[i].(int64)
			}
			id = n[0]
			s.change.Parcels--
			s.change.Rows -= uint64(n[1])
			s.change.Bytes -= uint64(n[2])
			s.dropped.Count += uint64(n[1])
			s.dropped.Sent += uint64(n[3])
			s.dropped.Received += uint64(n[4])
			return nil
		}, o.flying)
		if err != nil {
			return err
		}
		if id == 0 {
			break
		}
		if _, err := t.w.c.exec("DELETE FROM outbox WHERE id = ?", id); err != nil {
			return err
		}
	}
	if s.dropped.Count == 0 {
		return nil
	}
	s.dropped.Time, s.dropped.Cause, s.dropped.Detail = now, event.LossRemote, "the remote database was away for so long that its rows found no more room"
	return t.loss(s.dropped)
}

// tellShipment reports what a committed transaction did to the outbox.
func (s *Store) tellShipment(t *shipment) {
	if t.dropped.Count > 0 {
		s.dropUnsent(t.dropped.Count)
	}
	if t.parcels > 0 && s.cfg.Outbox.Ready != nil {
		s.cfg.Outbox.Ready()
	}
}

func (s *Store) dropUnsent(rows uint64) {
	s.note(func(st *Stats) { st.Outbox.Dropped += rows })
	s.cfg.Loss(event.LossRemote, rows)
}

// countUnsent books what waited in a file that is lost. The caller holds
// writeMu.
func (s *Store) countUnsent() {
	if s.w == nil || s.w.outbox == nil || s.w.outbox.waits.Rows == 0 {
		return
	}
	rows := s.w.outbox.waits.Rows
	s.mu.Lock()
	s.queue.pushLoss(event.Loss{Time: s.cfg.Now(), Cause: event.LossRemote, Count: rows, Detail: "rows for the remote database were in a file that is lost"})
	s.mu.Unlock()
	s.dropUnsent(rows)
}

// unknow makes the connections of work new ones: the file is another. The
// caller holds writeMu.
func (s *Store) unknow(w *work) {
	clear(w.known)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range w.rows {
		s.queue.part(w, w.rows[i].conn.ID)
	}
}

// NextParcel returns the oldest parcel that waits; ok is false when there is
// none. The parcel stays until ParcelArrived.
func (s *Store) NextParcel(ctx context.Context) (p Parcel, ok bool, err error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.closed {
		return p, false, ErrClosed
	}
	if s.w == nil || s.w.outbox == nil {
		return p, false, nil
	}
	err = s.w.c.rows(ctx, "SELECT id, key, rows, sent, received, data FROM outbox ORDER BY id LIMIT 1", func(row []driver.Value) error {
		p, err = readParcel(row)
		ok = err == nil
		return err
	})
	if err != nil {
		return p, false, fmt.Errorf("read outbox: %w", err)
	}
	s.w.outbox.flying = p.ID
	return p, ok, nil
}

func readParcel(row []driver.Value) (p Parcel, err error) {
	id, isID := row[0].(int64)
	key, isKey := row[1].([]byte)
	rows, isRows := row[2].(int64)
	sent, isSent := row[3].(int64)
	received, isReceived := row[4].(int64)
	data, isData := row[5].([]byte)
	if !isID || !isKey || !isRows || !isSent || !isReceived || !isData || len(key) != len(p.Key) {
		return p, corruptf("row of the outbox")
	}
	p = Parcel{ID: id, Key: [16]byte(key), Rows: int(rows), Sent: uint64(sent), Received: uint64(received), Data: append([]byte(nil), data...)}
	return p, nil
}

// ParcelArrived removes a parcel for good.
func (s *Store) ParcelArrived(p *Parcel) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.w == nil || s.w.outbox == nil {
		return errors.New("remove from outbox: the database is not open")
	}
	res, err := s.w.c.exec("DELETE FROM outbox WHERE id = ? AND key = ?", p.ID, p.Key[:])
	if err != nil {
		return fmt.Errorf("remove from outbox: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("remove from outbox: %w", err)
	}
	o := s.w.outbox
	o.flying = 0
	if n == 1 {
		o.waits.Parcels--
		o.waits.Rows -= uint64(p.Rows)
		o.waits.Bytes -= uint64(len(p.Data))
	}
	s.noteOutbox()
	return nil
}

// ParcelUnreadable removes a parcel that nobody can read any more, and books its
// rows as lost: it must not hold up what follows.
func (s *Store) ParcelUnreadable(p *Parcel) error {
	if err := s.ParcelArrived(p); err != nil {
		return err
	}
	s.mu.Lock()
	s.queue.pushLoss(event.Loss{Time: s.cfg.Now(), Cause: event.LossRemote, Count: uint64(p.Rows), Sent: p.Sent, Received: p.Received,
		Detail: "a parcel for the remote database was damaged on disk"})
	s.mu.Unlock()
	s.dropUnsent(uint64(p.Rows))
	return nil
}

// noteOutbox notes what waits now. The caller holds writeMu.
func (s *Store) noteOutbox() {
	if s.w == nil || s.w.outbox == nil {
		return
	}
	now := s.w.outbox.waits
	if oldest, ok, err := s.w.c.number("SELECT time FROM outbox ORDER BY id LIMIT 1"); err == nil && ok {
		now.Oldest = schema.ToTime(oldest)
	}
	s.note(func(st *Stats) {
		now.Dropped = st.Outbox.Dropped
		st.Outbox = now
	})
}
