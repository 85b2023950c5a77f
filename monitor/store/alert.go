package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// ErrNoAlert is what setting the state of an alert that is not there gives.
var ErrNoAlert = errors.New("there is no such alert")

// alertRows bounds the alerts in the file: beyond it those that did not happen
// for longest go first.
const alertRows = 131072

// SetAlert says what a person did about an alert; AlertSeen mutes it. What
// happened until now is written before, so that no occurrence from before the
// answer makes a resolved alert new again.
func (s *Store) SetAlert(ctx context.Context, id int64, state event.AlertState) error {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.commit(ctx); err != nil {
		s.failed(err)
		return fmt.Errorf("set alert %d: %w", id, err)
	}
	if s.w == nil {
		if err := s.ready(ctx); err != nil {
			return fmt.Errorf("set alert %d: %w", id, err)
		}
	}
	return s.w.c.setAlert(id, state)
}

func (c *conn) setAlert(id int64, state event.AlertState) error {
	switch state {
	case event.AlertNew, event.AlertSeen, event.AlertResolved:
	default:
		return fmt.Errorf("set alert %d: no state %v", id, state)
	}
	res, err := c.exec("UPDATE alert SET state = ? WHERE id = ?", int64(state), id)
	if err != nil {
		return fmt.Errorf("set alert %d: %w", id, err)
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = ErrNoAlert
	}
	if err != nil {
		return fmt.Errorf("set alert %d: %w", id, err)
	}
	return nil
}

// SetAlerts is SetAlert for a state directory that no daemon uses; ErrLocked
// says that one does. All are set or none.
func SetAlerts(_ context.Context, dir string, ids []int64, state event.AlertState) (err error) {
	path := filepath.Join(dir, schema.FileName)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("set alerts: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return fmt.Errorf("set alerts: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	c, err := dial(path)
	if err != nil {
		return fmt.Errorf("set alerts: %w", err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	switch version, err := identity(c); {
	case err != nil:
		return fmt.Errorf("set alerts: %w", err)
	case version != schema.Version:
		return fmt.Errorf("set alerts: schema %d has none: %w", version, ErrNoAlert)
	}
	return c.transaction(func() error {
		for _, id := range ids {
			if err := c.setAlert(id, state); err != nil {
				return err
			}
		}
		return nil
	})
}

// purgeAlerts removes resolved alerts that did not happen since limit, and the
// oldest of all beyond alertRows.
func (w *writer) purgeAlerts(limit int64) (int64, error) {
	n, err := w.remove("DELETE FROM alert WHERE id IN (SELECT id FROM alert WHERE last < ? AND state = ? LIMIT ?)",
		limit, int64(event.AlertResolved), int64(purgeRows))
	if err != nil || n > 0 {
		return n, err
	}
	return w.remove("DELETE FROM alert WHERE id IN (SELECT id FROM alert ORDER BY last LIMIT max(0, min(?, (SELECT count(*) FROM alert) - ?)))",
		int64(purgeRows), int64(alertRows))
}
