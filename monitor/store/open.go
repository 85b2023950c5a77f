package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"snitch/monitor/store/schema"
)

// checkTime bounds the check at start: a database of gigabytes must not hold
// the monitor up. Damage that it did not reach is found when it is met.
const checkTime = 3 * time.Second

// attach opens the database file, sets a corrupt one aside, brings the schema
// up to date and begins (or goes on with) this run. The caller holds writeMu.
func (s *Store) attach(ctx context.Context) error {
	err := s.attachOnce(ctx)
	if !isCorrupt(err) {
		return err
	}
	if err := s.quarantine(err); err != nil {
		return err
	}
	return s.attachOnce(ctx)
}

func (s *Store) attachOnce(ctx context.Context) (err error) {
	if err := makeDir(s.cfg.Dir, s.cfg.Group); err != nil {
		return err
	}
	if s.lock == nil {
		if s.lock, err = lockDir(s.cfg.Dir); err != nil {
			return err
		}
	}
	if err := makeFile(s.path, s.cfg.Group); err != nil {
		return err
	}
	if err := checkHeader(s.path); err != nil {
		return err
	}
	c, err := dial(s.path)
	if err != nil {
		return err
	}
	if err := s.begin(ctx, c); err != nil {
		return errors.Join(err, c.close())
	}
	return nil
}

// begin makes c the connection of s once everything about the file is right.
func (s *Store) begin(ctx context.Context, c *conn) error {
	version, err := identity(c)
	if err != nil {
		return err
	}
	if version > 0 {
		if err := s.check(ctx, c); err != nil {
			return err
		}
	}
	if err := migrate(c, s.path, s.cfg.Group, version, schema.Migrations(), s.cfg.Now()); err != nil {
		return err
	}
	file, err := identify(s.path)
	if err != nil {
		return err
	}
	w := &writer{c: c, file: file, intern: newInterner(c), run: s.run, outbox: newOutbox(s.cfg.Outbox),
		inserts: newBulk(c, insertConnection, connectionColumns, ""), upserts: newBulk(c, addSum, sumColumns, mergeSum)}
	if err := w.load(s.cfg); err != nil {
		return err
	}
	if err := s.novel.attach(ctx, c); err != nil {
		return fmt.Errorf("read what is known: %w", err)
	}
	s.w, s.run = w, w.run
	return nil
}

// identity reads whose database it is and which schema it has; 0 is new.
func identity(c *conn) (version int, err error) {
	app, _, err := c.number("PRAGMA application_id")
	if err != nil {
		return 0, fmt.Errorf("read application id: %w", err)
	}
	v, _, err := c.number("PRAGMA user_version")
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	tables, _, err := c.number("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return 0, fmt.Errorf("read schema: %w", err)
	}
	switch {
	case tables == 0 && app == 0:
		return 0, nil
	case app != schema.ApplicationID:
		return 0, fmt.Errorf("application id %#x: %w", app, ErrForeign)
	case v > schema.Version:
		return 0, fmt.Errorf("schema %d, this snitch knows %d: %w", v, schema.Version, ErrNewer)
	case v < 1:
		return 0, corruptf("schema version %d", v)
	}
	return int(v), nil
}

// check runs SQLite's own check for as long as checkTime.
func (s *Store) check(ctx context.Context, c *conn) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	err := c.rows(ctx, "PRAGMA quick_check(1)", func(row []driver.Value) error {
		if answer, _ := row[0].(string); answer != "ok" {
			return corruptf("quick check says %.200q", answer)
		}
		return nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		s.cfg.Log.Info("check of the database cut short", "after", checkTime)
		s.note(func(st *Stats) { st.CheckSkipped = true })
		return nil
	}
	if err != nil {
		return fmt.Errorf("check database: %w", err)
	}
	return nil
}

// quarantine sets the corrupt file aside and forgets what was written to it,
// so that open connections get rows in the new file.
func (s *Store) quarantine(cause error) error {
	s.countUnsent()
	if err := s.detach(); err != nil {
		s.cfg.Log.Debug("close corrupt database", "error", err)
	}
	target, err := setAside(s.path, s.cfg.Now())
	if err != nil {
		return errors.Join(cause, err)
	}
	s.cfg.Log.Error("database is corrupt: set aside, a new one begins", "error", cause, "kept_as", filepath.Base(target))
	s.forget()
	s.note(func(st *Stats) { st.Quarantined++ })
	return nil
}

// detach closes the connection, if there is one.
func (s *Store) detach() error {
	if s.w == nil {
		return nil
	}
	c := s.w.c
	s.w = nil
	return c.close()
}

// migrate brings the file from version to the end of steps in one transaction.
// A database that has content is copied first.
func migrate(c *conn, path string, group, version int, steps []string, now time.Time) error {
	if version == len(steps) {
		return nil
	}
	if version > 0 {
		if err := backup(c, path, group, version, now); err != nil {
			return err
		}
	}
	return c.transaction(func() error {
		for v := version; v < len(steps); v++ {
			if err := c.script(context.Background(), steps[v]); err != nil {
				return fmt.Errorf("migrate schema %d to %d: %w", v, v+1, err)
			}
		}
		return c.script(context.Background(), fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d",
			schema.ApplicationID, len(steps)))
	})
}

// backup copies the database to snitch.db.schema-N-TIME.
func backup(c *conn, path string, group, version int, now time.Time) error {
	prefix := fmt.Sprintf("%s.schema-", path)
	target := freeName(fmt.Sprintf("%s%d-%s", prefix, version, now.UTC().Format(stampForm)))
	if err := makeFile(target, group); err != nil {
		return fmt.Errorf("copy database before migration: %w", err)
	}
	if _, err := c.exec("VACUUM INTO ?", target); err != nil {
		return errors.Join(fmt.Errorf("copy database before migration: %w", err), os.Remove(target))
	}
	return removeOld(prefix)
}
