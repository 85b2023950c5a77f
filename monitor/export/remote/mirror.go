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
