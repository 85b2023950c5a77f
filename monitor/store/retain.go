package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"time"

	"snitch/monitor/store/schema"
)

const (
	// purgeRows is how many rows one transaction of the purge removes: few
	// milliseconds, so that commits are never late because of it.
	purgeRows = 1000
	// vacuumSlack is the share of free pages that is left in the file for the
	// rows to come.
	vacuumSlack = 10
	// vacuumLeast is below which giving back is not worth the writes.
	vacuumLeast = 1 << 20
	// shrinkTo is the part of the size bound, in percent, down to which the
	// purge goes once the bound was reached.
	shrinkTo = 90
	// orphanShare is how many of the rows are removed, as one in so many,
	// before the orphans are collected: that reads all rows.
	orphanShare = 20
)

// housekeep applies the retention for about the given time, in short
// transactions, and goes on in the next interval where it has to.
func (s *Store) housekeep(ctx context.Context, budget time.Duration) error {
	began := time.Now()
	w := s.w
	for {
		more, err := w.housekeepOnce(s.cfg)
		if err != nil {
			return s.afterHousekeeping(err)
		}
		if !more {
			s.note(func(st *Stats) { st.Retention.Behind = false })
			return nil
		}
		if ctx.Err() != nil || time.Since(began) > budget {
			s.note(func(st *Stats) { st.Retention.Behind = true })
			return nil
		}
	}
}

// afterHousekeeping makes sure that memory and file agree after a failure: the
// next commit opens the file anew and reads its state.
func (s *Store) afterHousekeeping(err error) error {
	if isCorrupt(err) {
		return s.quarantine(err)
	}
	return errors.Join(err, s.detach())
}

// housekeepOnce does one bounded piece of what is due; more tells whether
// there is another.
func (w *writer) housekeepOnce(cfg Config) (more bool, err error) {
	now := cfg.Now()
	if done, err := w.foldNext(now); err != nil || !done {
		return true, err
	}
	if made, err := w.makeBlock(cfg.BlockRows, now); err != nil || made {
		return true, err
	}
	for _, step := range []func() (int64, error){
		func() (int64, error) { return w.purgeSums(cfg.Rollups, now) },
		func() (int64, error) { return w.purgeAge(cfg.MaxAge, now) },
	} {
		if n, err := step(); err != nil || n > 0 {
			return true, err
		}
	}
	// Orphans go before more rows do: they may be what fills the file.
	if more, err := w.collect(); err != nil || more {
		return more, err
	}
	if n, err := w.purgeSize(cfg.MaxBytes); err != nil || n > 0 {
		return true, err
	}
	return w.vacuum(cfg.MaxBytes)
}

// purgeSums removes sums that are older than their resolution is kept, and
// only those that were added up.
func (w *writer) purgeSums(keep RollupAge, now time.Time) (int64, error) {
	for _, r := range []struct {
		res    schema.Resolution
		keep   time.Duration
		folded int64
	}{{schema.Minute, keep.Minutes, w.fold.hours}, {schema.Hour, keep.Hours, w.fold.days}, {schema.Day, keep.Days, math.MaxInt64}} {
		limit := min(now.Add(-r.keep).Unix(), r.folded)
		for _, dim := range schema.Dims() {
			n, err := w.remove(`DELETE FROM rollup WHERE (dim, res, bucket, key) IN
				(SELECT dim, res, bucket, key FROM rollup WHERE dim = ? AND res = ? AND bucket < ? LIMIT ?)`,
				int64(dim), int64(r.res), limit, int64(purgeRows))
			if err != nil || n > 0 {
				return n, err
			}
		}
	}
	return 0, nil
}

// purgeAge removes rows whose last activity is older than the bound, except
// for connections that a snapshot may still change.
func (w *writer) purgeAge(maxAge time.Duration, now time.Time) (int64, error) {
	if maxAge == 0 {
		return 0, nil
	}
	limit := schema.FromTime(now.Add(-maxAge))
	n, err := w.removeConnections(`DELETE FROM connection WHERE (opened, run, id) IN
		(SELECT opened, run, id FROM connection WHERE opened < ?1 AND opened + ifnull(last, 0) < ?1 AND (closed = 1 OR run <> ?2) LIMIT ?3)`,
		limit, w.run, int64(purgeRows))
	if err != nil || n > 0 {
		return n, err
	}
	n, err = w.removeCounted("exec_log", "DELETE FROM exec_log WHERE (time, run, id) IN (SELECT time, run, id FROM exec_log WHERE time < ? LIMIT ?)",
		limit, int64(purgeRows))
	if err != nil || n > 0 {
		return n, err
	}
	for _, sql := range [...]string{
		"DELETE FROM loss WHERE (time, run, id) IN (SELECT time, run, id FROM loss WHERE time < ? LIMIT ?)",
		"DELETE FROM batch WHERE id IN (SELECT id FROM batch WHERE time < ? LIMIT ?)",
	} {
		if n, err = w.remove(sql, limit, int64(purgeRows)); err != nil || n > 0 {
			return n, err
		}
	}
	if n, err = w.purgeAlerts(limit); err != nil || n > 0 {
		return n, err
	}
	return w.remove(`DELETE FROM run WHERE stopped < ? AND id IN (SELECT id FROM run WHERE stopped IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM connection WHERE run = run.id) LIMIT ?)`, limit, int64(purgeRows))
}

// purgeSize removes the oldest rows while the file holds more than the bound:
// connections and execs alike, whichever are older.
func (w *writer) purgeSize(maxBytes int64) (int64, error) {
	if maxBytes == 0 {
		return 0, nil
	}
	used, _, err := w.pages()
	if err != nil {
		return 0, err
	}
	bound := maxBytes
	if w.shrinking {
		bound = maxBytes / 100 * shrinkTo
	}
	if w.shrinking = used > bound; !w.shrinking {
		return 0, nil
	}
	limit, ok, err := w.c.number(`SELECT max(t) FROM (SELECT opened AS t FROM connection WHERE closed = 1 OR run <> ?2 ORDER BY opened LIMIT ?1)
		UNION ALL SELECT max(t) FROM (SELECT time AS t FROM exec_log ORDER BY time LIMIT ?1) ORDER BY 1 NULLS LAST`, int64(purgeRows), w.run)
	if err != nil || !ok {
		return 0, err
	}
	n, err := w.removeConnections(`DELETE FROM connection WHERE (opened, run, id) IN
		(SELECT opened, run, id FROM connection WHERE opened <= ?1 AND (closed = 1 OR run <> ?2) LIMIT ?3)`,
		limit, w.run, int64(2*purgeRows))
	if err != nil {
		return n, err
	}
	m, err := w.removeCounted("exec_log", "DELETE FROM exec_log WHERE time <= ?", limit)
	return n + m, err
}

// remove runs one DELETE and counts its rows.
func (w *writer) remove(sql string, args ...any) (int64, error) {
	res, err := w.c.exec(sql, args...)
	if err != nil {
		return 0, fmt.Errorf("remove old rows: %w", err)
	}
	n, err := res.RowsAffected()
	w.removed += n
	w.purged += uint64(n)
	return n, err
}

// removeConnections removes rows that were opened up to a moment, its first
// argument, and their blocks.
func (w *writer) removeConnections(sql string, upTo int64, args ...any) (n int64, err error) {
	return w.removeAnd(func() error { return w.dropBlocks(upTo) }, "connection", sql, append([]any{upTo}, args...)...)
}

// removeCounted is remove for a table whose rows are counted.
func (w *writer) removeCounted(table, sql string, args ...any) (n int64, err error) {
	return w.removeAnd(func() error { return nil }, table, sql, args...)
}

// removeAnd is removeCounted, and calls also in the same transaction when it
// removed something.
func (w *writer) removeAnd(also func() error, table, sql string, args ...any) (n int64, err error) {
	err = w.c.transaction(func() error {
		if n, err = w.remove(sql, args...); err != nil || n == 0 {
			return err
		}
		if err = also(); err != nil {
			return err
		}
		return w.c.count(table, -n)
	})
	if err != nil {
		return 0, err
	}
	switch table {
	case "connection":
		w.connRows -= n
	case "exec_log":
		w.execRows -= n
	}
	return n, nil
}

// pages is how many bytes of the file are in use and how many are free.
func (w *writer) pages() (used, free int64, err error) {
	var size, count, idle int64
	for _, p := range []struct {
		to  *int64
		sql string
	}{{&size, "PRAGMA page_size"}, {&count, "PRAGMA page_count"}, {&idle, "PRAGMA freelist_count"}} {
		if *p.to, _, err = w.c.number(p.sql); err != nil {
			return 0, 0, fmt.Errorf("read size: %w", err)
		}
	}
	return (count - idle) * size, idle * size, nil
}

// vacuum gives free pages back, beyond a reserve for the rows to come and what
// the size bound allows.
func (w *writer) vacuum(maxBytes int64) (more bool, err error) {
	used, free, err := w.pages()
	if err != nil {
		return false, err
	}
	over := maxBytes > 0 && used+free > maxBytes && free > 0
	if !over && (free <= used/vacuumSlack || free < vacuumLeast) {
		return false, nil
	}
	if _, err := w.c.exec("PRAGMA incremental_vacuum(256)"); err != nil { // pages: 1 MiB, some milliseconds
		return false, fmt.Errorf("give free pages back: %w", err)
	}
	_, left, err := w.pages()
	return left < free, err
}

// oldest is the time of the oldest connection in the file.
func (w *writer) oldest() (t time.Time, err error) {
	err = w.c.rows(context.Background(), "SELECT opened FROM connection ORDER BY opened LIMIT 1", func(row []driver.Value) error {
		if ns, ok := row[0].(int64); ok {
			t = schema.ToTime(ns)
		}
		return nil
	})
	return t, err
}

// refreshStats copies what the writer knows. The caller holds writeMu.
func (s *Store) refreshStats() {
	if s.w == nil {
		return
	}
	oldest, err := s.w.oldest()
	if err != nil {
		s.cfg.Log.Debug("read oldest row", "error", err)
	}
	w := s.w
	s.noteOutbox()
	s.note(func(st *Stats) {
		st.Rows, st.Execs = uint64(max(0, w.connRows)), uint64(max(0, w.execRows))
		st.Retention.Oldest, st.Retention.Stuck = oldest, w.shrinking
		st.Retention.Purged, st.Retention.Orphans = st.Retention.Purged+w.purged, st.Retention.Orphans+w.gc.removed
		w.purged, w.gc.removed = 0, 0
	})
}
