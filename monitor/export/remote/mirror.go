package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

// Bounds of a Mirror.
const (
	mirrorEvery   = 10 * time.Second
	roundParcels  = 2000             // of each host, that are listed at once
	stepBack      = 10 * time.Minute // that a host's clock may be set back by without a parcel being missed
	backParcels   = 20_000           // of each host, that are listed again for that
	closedKept    = event.CorrectionsKept / 2
	mirrorMinimum = 64 << 20
)

// MirrorConfig says what is mirrored where.
type MirrorConfig struct {
	Dir      string        // for the file; nothing else may be in it
	Window   time.Duration // that is kept
	MaxBytes int64         // of the file; what is oldest goes first
	Log      *slog.Logger
}

// Mirror copies what the server has of all hosts into a database of the shape
// that a host's own record has, with the host beside each row, so that whoever
// reads one can read the other. It only reads from the server. Run may be called
// once; Status concurrently.
type Mirror struct {
	db     *DB
	cfg    MirrorConfig
	store  *store.Store
	words  *words
	tables map[string]*table

	// What follows belongs to Run.
	hosts  map[string]*mirrored
	next   uint64     // ID of a connection in the file
	closed []connKey  // ring of the closedKept last
	oldest int        // next place in closed
	batch  pendingSet // not in the file yet

	mu     sync.Mutex // guards what follows
	clock  time.Time  // of what is being written; zero: now
	status MirrorStatus
}

// MirrorStatus is how far a Mirror is.
type MirrorStatus struct {
	Server  string // for people
	Since   time.Time
	Read    time.Time // when all that the server had was here; zero: not yet
	Parcels uint64    // that were read
	Rows    uint64    // of connections
	Hosts   []MirrorHost
	Problem string // of the last attempt; "" if there was none
}

// MirrorHost is a host that the server heard of.
type MirrorHost struct {
	Name string    `json:"name"`
	Last time.Time `json:"last"` // that it wrote something; zero: not within the window
}

// mirrored is what is known of one host.
type mirrored struct {
	written time.Time // of the last parcel that was read
	key     string
	known   map[string]time.Time // parcels from shortly before
	caught  bool                 // all that it had was read once
	last    time.Time
	open    map[connKey]*grown
}

// connKey names a connection in the fleet.
type connKey struct {
	host    string
	run, id int64
}

// grown is what a connection has in the file.
type grown struct {
	id                      uint64
	sent, received, packets uint64
}

// pendingSet is what goes into one transaction.
type pendingSet struct {
	rows int
	hour int64
}

// OpenMirror makes the file. Close the Mirror after Run.
func OpenMirror(ctx context.Context, a *Access, cfg MirrorConfig) (*Mirror, error) {
	db, err := Open(a)
	if err != nil {
		return nil, err
	}
	m := &Mirror{db: db, cfg: cfg, words: newWords(), tables: map[string]*table{}, hosts: map[string]*mirrored{}}
	for _, t := range tables() {
		m.tables[t.name] = &t
	}
	m.status.Server = a.Address.String()
	m.clock = time.Now().Add(-cfg.Window)
	m.status.Since = m.clock
	m.store, err = store.Open(ctx, store.Config{Dir: cfg.Dir, Group: -1, MaxAge: cfg.Window, MaxBytes: max(cfg.MaxBytes, mirrorMinimum), Log: cfg.Log,
		Run: store.Run{Tier: "fleet"}, Now: m.now})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return m, nil
}

// now is the time at which something is written, for the file: what is read of
// last week was new then.
func (m *Mirror) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.clock.IsZero() {
		return time.Now()
	}
	return m.clock
}

func (m *Mirror) at(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = t
}

// Status is how far it is.
func (m *Mirror) Status() MirrorStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	s.Hosts = slices.Clone(s.Hosts)
	if since := time.Now().Add(-m.cfg.Window); since.After(s.Since) {
		s.Since = since
	}
	return s
}

// Close closes the file and the connection. The file stays.
func (m *Mirror) Close() error { return errors.Join(m.store.Close(), m.db.Close()) }

// Run reads what is new every few seconds until ctx ends. A server that is away
// is tried again.
func (m *Mirror) Run(ctx context.Context) error {
	for {
		err := m.refresh(ctx)
		if ctx.Err() != nil {
			return nil
		}
		m.tell(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(mirrorEvery):
		}
	}
}

// tell notes how an attempt ended, and logs what is new about that.
func (m *Mirror) tell(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.status.Problem
	m.status.Problem = ""
	if err == nil {
		m.status.Read = time.Now()
		return
	}
	m.status.Problem = clean(err.Error(), maxProblem)
	if m.status.Problem != before {
		m.cfg.Log.Warn("the record of the fleet was not read", "component", "fleet", "error", m.status.Problem)
	}
}

// refresh reads all that the server has and the file has not.
func (m *Mirror) refresh(ctx context.Context) error {
	if err := m.greet(ctx); err != nil {
		return err
	}
	for again := false; ; again = true {
		list, more, err := m.list(ctx, !again)
		if err != nil {
			return err
		}
		if err := m.take(ctx, list); err != nil {
			return err
		}
		m.report()
		if !more {
			break
		}
	}
	for _, h := range m.hosts {
		h.caught = true
		h.forget()
	}
	m.at(time.Time{})
	return m.store.Maintain(ctx)
}

// greet looks at the tables and at who there is.
func (m *Mirror) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	tx, err := m.db.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("enter: %w", err)
	}
	err = checkSchema(ctx, tx)
	_ = tx.Rollback() // it only read
	if err != nil {
		return err
	}
	names, err := m.db.hosts(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if m.hosts[name] == nil {
			m.hosts[name] = &mirrored{written: time.Now().Add(-m.cfg.Window), known: map[string]time.Time{}, open: map[connKey]*grown{}}
		}
	}
	return nil
}

// list is what is new of all hosts, in the order in which it was written as far
// as that is known: where a host has more than one list holds, only what every
// host wrote until then.
func (m *Mirror) list(ctx context.Context, first bool) (out []arrival, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	until := time.Unix(math.MaxInt32<<1, 0)
	for name, h := range m.hosts {
		from, key, limit := h.written, h.key, roundParcels
		if first && h.caught {
			from, key, limit = from.Add(-stepBack), "", backParcels
		}
		list, err := m.db.arrivals(ctx, name, from, key, limit)
		if err != nil {
			return nil, false, err
		}
		before := len(out)
		for i := range list {
			if _, known := h.known[list[i].key]; !known {
				out = append(out, list[i])
			}
		}
		if len(list) == limit && (len(out) > before || limit == backParcels) {
			more = true
			if last := list[limit-1].written; last.Before(until) {
				until = last
			}
		}
	}
	out = slices.DeleteFunc(out, func(a arrival) bool { return more && a.written.After(until) })
	slices.SortFunc(out, func(a, b arrival) int {
		if c := a.written.Compare(b.written); c != 0 {
			return c
		}
		return strings.Compare(a.key, b.key)
	})
	return out, more, nil
}

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

// report says who there is.
func (m *Mirror) report() {
	list := make([]MirrorHost, 0, len(m.hosts))
	for name, h := range m.hosts {
		list = append(list, MirrorHost{name, h.last})
	}
	slices.SortFunc(list, func(a, b MirrorHost) int { return strings.Compare(a.Name, b.Name) })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status.Hosts = list
}
