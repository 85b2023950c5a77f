package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// rowsPerCommit bounds a transaction, so that a backlog is written in pieces
// and readers never meet a huge log.
const rowsPerCommit = 4096

// Store is the writer of the record. Its methods may be called concurrently;
// Run at most once.
type Store struct {
	cfg  Config
	path string
	wake chan struct{} // many rows wait: commit before the interval ends

	// writeMu is held for a transaction and guards what follows. It is taken
	// before mu.
	writeMu sync.Mutex
	lock    *os.File
	w       *writer // nil while the file cannot be opened
	run     int64   // row of table run, 0 before it is written
	file    int     // how many files this Store has begun anew
	unsure  *txn    // a commit that may or may not have happened
	closed  bool

	// mu is held for moments only and guards what follows.
	mu    sync.Mutex
	queue queue
	stats Stats
	// ruleSet is the last that was put: a new file needs it too.
	ruleSet *ruleSet

	novel novelty // has a lock of its own, taken last
}

// ErrClosed is what Flush returns after Close.
var ErrClosed = errors.New("store is closed")

// Open opens the database in the state directory or makes it. A corrupt one
// is set aside. While the disk refuses (full, read-only) Open succeeds, says
// so in the log and in Stats, and every commit tries again: the monitor must
// not stay off because a disk is full. ErrLocked, ErrNewer and ErrForeign are
// what the operator must resolve.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, path: filepath.Join(cfg.Dir, schema.FileName), wake: make(chan struct{}, 1), queue: newQueue(cfg.MaxPending)}
	s.stats.MaxAge, s.stats.MaxBytes = cfg.MaxAge, cfg.MaxBytes
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	switch err := s.attach(ctx); {
	case err == nil:
		s.refreshStats()
	case isFinal(err) || ctx.Err() != nil:
		return nil, errors.Join(fmt.Errorf("open store %s: %w", s.path, err), s.release())
	default:
		s.failed(err)
	}
	return s, nil
}

// Append takes in what one drain saw. It never blocks on the disk and keeps
// at most the configured number of rows; what no longer fits is counted.
func (s *Store) Append(b Batch) {
	minute := b.Time.Unix() / 60
	fresh := s.novel.take()
	s.mu.Lock()
	s.queue.extras.add(b.Alerts, b.Rules, fresh)
	if n := s.queue.extras.shed(); n > 0 {
		s.queue.pushLoss(event.Loss{Time: b.Time, Cause: event.LossStore, Count: n, Detail: "more alerts at once than memory for them"})
	}
	for i := range b.Connections {
		s.queue.push(b.Connections[i], minute)
	}
	s.queue.execs = append(s.queue.execs, b.Execs...)
	for _, l := range b.Losses {
		s.queue.pushLoss(l)
	}
	d := s.queue.shed()
	s.countDropped(d, b.Time)
	many := s.queue.waiting() >= min(rowsPerCommit, max(1, s.cfg.MaxPending/2))
	s.mu.Unlock()
	s.tellDropped(d)
	if many {
		select {
		case s.wake <- struct{}{}:
		default: // it knows already
		}
	}
}

// countDropped books a loss; the caller holds mu.
func (s *Store) countDropped(d dropped, at time.Time) {
	if d.rows == 0 {
		return
	}
	s.stats.Lost += d.rows
	s.stats.LostBytes += d.bytes
	s.queue.pushLoss(event.Loss{Time: at, Cause: event.LossStore, Count: d.rows, Sent: d.sent, Received: d.received,
		Detail: "the database could not be written and memory for waiting rows was full"})
}

// tellDropped reports a loss; the caller holds no lock.
func (s *Store) tellDropped(d dropped) {
	if d.rows == 0 {
		return
	}
	s.cfg.Loss(event.LossStore, d.rows)
	if d.bytes > 0 {
		s.cfg.Loss(event.LossStoreBytes, d.bytes)
	}
}

// Run commits once per interval, or sooner when much waits, and applies the
// retention, until ctx ends; then it commits what still waits and returns the
// error of that, if any. Errors on the way are logged once each and tried
// again: a full disk does not end Run.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.Flush(context.WithoutCancel(ctx))
		case <-tick.C:
			s.turn(ctx, true)
		case <-s.wake:
			s.turn(ctx, false)
		}
	}
}

// turn is one commit and, at the end of an interval, one bounded piece of
// house-keeping.
func (s *Store) turn(ctx context.Context, housekeep bool) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.closed {
		return
	}
	if err := s.commit(ctx); err != nil {
		s.failed(err)
		return
	}
	if housekeep && s.w != nil {
		if err := s.housekeep(ctx, s.cfg.Interval/20); err != nil {
			s.failed(fmt.Errorf("apply retention: %w", err))
		}
	}
	s.refreshStats()
}

// Flush commits what waits and returns when it is in the file.
func (s *Store) Flush(ctx context.Context) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.commit(ctx); err != nil {
		s.failed(err)
		return err
	}
	s.refreshStats()
	return nil
}

// Maintain applies the retention until nothing is left to do, where Run does
// it piece by piece, and returns when it is done or ctx ends.
func (s *Store) Maintain(ctx context.Context) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	defer s.refreshStats()
	return s.housekeep(ctx, math.MaxInt64)
}

// Close commits what waits, marks the run as ended in order and closes the
// file. What could not be written is counted as lost, and said in the error.
// Call it after Run has returned. A second Close does nothing.
func (s *Store) Close() error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.commit(context.Background())
	if err != nil {
		s.failed(err)
	}
	if s.unsure != nil {
		s.putBack(s.unsure.work)
	}
	s.mu.Lock()
	d := s.queue.abandon()
	s.stats.Lost, s.stats.LostBytes = s.stats.Lost+d.rows, s.stats.LostBytes+d.bytes
	s.mu.Unlock()
	s.tellDropped(d)
	if d.rows > 0 {
		err = errors.Join(err, fmt.Errorf("close store: %d rows with %d bytes are lost", d.rows, d.bytes))
	}
	if s.w != nil {
		err = errors.Join(err, s.w.endRun(s.cfg.Now()))
	}
	return errors.Join(err, s.detach(), s.release())
}

// release gives the directory free for another writer.
func (s *Store) release() error {
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}

// Stats returns the state of now.
func (s *Store) Stats() Stats {
	bytes := diskBytes(s.cfg.Dir)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Bytes = bytes
	st.Pending = uint64(s.queue.waiting())
	st.Known = s.novel.stats()
	return st
}

// note changes the stats under their lock.
func (s *Store) note(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// failed notes an error and logs it when it is a new one.
func (s *Store) failed(err error) {
	s.mu.Lock()
	again := s.stats.LastError == err.Error()
	s.stats.LastError, s.stats.LastErrorAt = err.Error(), s.cfg.Now()
	waiting := s.queue.waiting()
	s.mu.Unlock()
	if !again {
		s.cfg.Log.Error("database not written, rows wait in memory", "error", err, "pending", waiting)
	}
}
