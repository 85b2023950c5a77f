package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// commit writes all that waits, in transactions of a bounded size. The caller
// holds writeMu.
func (s *Store) commit(ctx context.Context) error {
	if err := s.resolve(ctx); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		w := s.queue.take(rowsPerCommit)
		s.mu.Unlock()
		if w.empty() {
			return nil
		}
		began := time.Now()
		t, err := s.write(ctx, w)
		s.note(func(st *Stats) { st.Spent += time.Since(began) })
		switch {
		case err == nil:
			s.committed(w)
			s.tell(t)
		case s.unsure != nil:
			return err // the work stays in flight until it is known
		default:
			s.putBack(w)
			return err
		}
	}
}

// committed moves the memory of what is in the file on.
func (s *Store) committed(w *work) {
	s.mu.Lock()
	s.queue.done(w)
	recovered := s.stats.LastError != ""
	s.stats.LastError = ""
	s.stats.LastWrite = s.cfg.Now()
	s.stats.Batches++
	s.stats.Written += uint64(len(w.rows) + len(w.execs))
	s.mu.Unlock()
	if recovered {
		s.cfg.Log.Info("database is written again")
	}
}

// putBack lets work wait that was not written.
func (s *Store) putBack(w *work) {
	s.mu.Lock()
	s.queue.putBack(w)
	d := s.queue.shed()
	s.countDropped(d, s.cfg.Now())
	s.mu.Unlock()
	s.tellDropped(d)
}

// write runs one transaction. When the file turns out to be corrupt, it is set
// aside and the work goes into a new one.
func (s *Store) write(ctx context.Context, w *work) (*txn, error) {
	for again := false; ; again = true {
		file := s.file
		if err := s.ready(ctx); err != nil {
			return nil, err
		}
		if s.file != file {
			s.unknow(w)
		}
		t, err := s.w.write(w, s.cfg.Now())
		switch {
		case err == nil:
			s.w.advance(t)
			return t, nil
		case isCorrupt(err) && !again:
			if err := s.quarantine(err); err != nil {
				return nil, err
			}
			s.unknow(w)
		default:
			return t, s.afterFailure(t, err)
		}
	}
}

// tell hands on what a committed transaction means for others: alerts that
// became new, and what is to leave the host or never will.
func (s *Store) tell(t *txn) {
	if t == nil {
		return
	}
	if len(t.raised) > 0 {
		s.cfg.Alerted(t.raised)
	}
	s.tellShipment(&t.shipment)
}

// ready makes sure that there is a connection, and that it leads to the file
// that is in the directory now.
func (s *Store) ready(ctx context.Context) error {
	if s.w == nil {
		return s.attach(ctx)
	}
	if now, err := identify(s.path); err == nil && now == s.w.file {
		return nil
	}
	s.cfg.Log.Warn("database file was removed or replaced: beginning again", "path", s.path)
	s.countUnsent()
	if err := s.detach(); err != nil {
		s.cfg.Log.Debug("close removed database", "error", err)
	}
	s.forget()
	return s.attach(ctx)
}

// forget drops what is known of the file: the next one is another.
func (s *Store) forget() {
	s.run = 0
	s.file++
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.forget(s.cfg.Outbox != nil)
	if s.ruleSet != nil {
		s.queue.extras.sets = append(s.queue.extras.sets, s.ruleSet)
	}
}

// afterFailure decides what a failed transaction means. A COMMIT that failed
// may have happened all the same: the row of its batch tells. If that cannot
// be read now, it is asked again before anything else is written.
func (s *Store) afterFailure(t *txn, cause error) error {
	var commit *commitError
	if !errors.As(cause, &commit) {
		return cause
	}
	happened, err := s.w.happened(t)
	switch {
	case err != nil:
		s.unsure = t
		return errors.Join(cause, err)
	case happened:
		s.w.advance(t)
		return nil
	}
	return cause
}

// resolve finds out about a commit of which it was not known whether it
// happened.
func (s *Store) resolve(ctx context.Context) error {
	t := s.unsure
	if t == nil {
		return nil
	}
	file := s.file
	if err := s.ready(ctx); err != nil {
		return err
	}
	happened := false
	if s.file == file {
		var err error
		if happened, err = s.w.happened(t); err != nil {
			return fmt.Errorf("look for the last batch: %w", err)
		}
	}
	s.unsure = nil
	if !happened {
		s.putBack(t.work)
		return nil
	}
	s.w.advance(t)
	s.committed(t.work)
	s.tell(t)
	return nil
}
