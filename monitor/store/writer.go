package store

import (
	"errors"
	"fmt"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// writer is one open database file and what is remembered of it. It belongs
// to who holds Store.writeMu.
type writer struct {
	c      *conn
	file   fileID
	intern *interner
	// inserts and upserts are empty outside of a transaction.
	inserts *bulk // rows of connection
	upserts *bulk // rows of rollup
	run     int64
	fold    fold
	blocks  blocks
	gc      collector

	batch  int64 // number of the last batch
	execs  int64 // numbers the rows of exec_log in this run
	losses int64 // numbers the rows of loss in this run

	connRows, execRows int64  // in the file
	shrinking          bool   // the purge by size is under way
	removed            int64  // rows since the last collection of orphans
	purged             uint64 // rows since the last look at the stats

	outbox *outbox // nil: nothing leaves the host
}

// load reads what the writer must know and begins the run, unless it did so
// before.
func (w *writer) load(cfg Config) error {
	numbers := []struct {
		to  *int64
		sql string
	}{
		{&w.batch, "SELECT ifnull(max(id), 0) FROM batch"},
		{&w.connRows, "SELECT value FROM counter WHERE name = 'connection'"},
		{&w.execRows, "SELECT value FROM counter WHERE name = 'exec_log'"},
		{&w.fold.hours, "SELECT folded FROM rollup_state WHERE res = 1"},
		{&w.fold.days, "SELECT folded FROM rollup_state WHERE res = 2"},
	}
	for _, n := range numbers {
		v, ok, err := w.c.number(n.sql)
		if err != nil {
			return fmt.Errorf("read state: %w", err)
		}
		if !ok {
			return corruptf("no answer to %q", n.sql)
		}
		*n.to = v
	}
	if err := w.blocks.load(w.c); err != nil {
		return err
	}
	if w.outbox != nil {
		if err := w.outbox.load(w.c); err != nil {
			return err
		}
	}
	if w.run != 0 {
		return w.resume()
	}
	return w.c.transaction(func() error { return w.beginRun(cfg) })
}

// beginRun adds the row of this run, and ends those that did not end in order
// with the time of their last batch.
func (w *writer) beginRun(cfg Config) error {
	_, err := w.c.exec(`UPDATE run SET stopped = max(started, ifnull((SELECT max(time) FROM batch WHERE batch.run = run.id), started))
		WHERE stopped IS NULL`)
	if err != nil {
		return fmt.Errorf("end earlier runs: %w", err)
	}
	res, err := w.c.exec("INSERT INTO run (started, version, tier, boot) VALUES (?, ?, ?, ?)",
		schema.FromTime(cfg.Now()), cfg.Run.Version, cfg.Run.Tier, cfg.Run.Boot)
	if err != nil {
		return fmt.Errorf("begin run: %w", err)
	}
	w.run, err = res.LastInsertId()
	return err
}

// resume goes on with a run whose row is in the file already.
func (w *writer) resume() (err error) {
	if w.execs, _, err = w.c.number("SELECT ifnull(max(id), 0) FROM exec_log WHERE run = ?", w.run); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if w.losses, _, err = w.c.number("SELECT ifnull(max(id), 0) FROM loss WHERE run = ?", w.run); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	return nil
}

// endRun marks the run as ended in order.
func (w *writer) endRun(now time.Time) error {
	if _, err := w.c.exec("UPDATE run SET stopped = ?, clean = 1 WHERE id = ?", schema.FromTime(now), w.run); err != nil {
		return fmt.Errorf("end run: %w", err)
	}
	return nil
}

// txn is one transaction: what the writer's memory will be once it is
// committed. The writer itself does not change before.
type txn struct {
	w    *writer
	work *work
	sums sums

	batch, execs, losses int64
	inserted, updated    int64
	total                totals
	raised               []event.Alert // what became new
	shipment             shipment

	// What was interned in this transaction, so that a row costs few look-ups.
	processes map[*event.Process]lineage
	actors    map[actor]actorRefs
	names     map[oneName]int64
	decided   event.Decision // the last one, and its numbers
	decision  decisionRefs
}

// write writes work in one transaction. After an error the file is as before,
// unless the error is a commitError.
func (w *writer) write(work *work, now time.Time) (*txn, error) {
	work.next = make(map[uint64]written, len(work.rows))
	w.intern.now = schema.FromTime(now)
	t := &txn{w: w, work: work, sums: make(sums), batch: w.batch + 1, execs: w.execs, losses: w.losses,
		processes: make(map[*event.Process]lineage), actors: make(map[actor]actorRefs), names: make(map[oneName]int64)}
	err := w.c.transaction(func() error {
		return errors.Join(t.connections(), t.seenExecs(), t.lost(), t.putExtras(), t.flushSums(), t.ship(now), t.finish(now))
	})
	if err != nil {
		w.intern.clear() // it may know rows that are gone again
		w.inserts.reset()
		w.upserts.reset()
	}
	return t, err
}

// advance makes the state of a committed transaction that of the writer.
func (w *writer) advance(t *txn) {
	w.batch, w.execs, w.losses = t.batch, t.execs, t.losses
	w.connRows += t.inserted
	w.execRows += int64(len(t.work.execs))
	if w.outbox != nil {
		w.outbox.advance(&t.shipment)
	}
}

// happened reports whether t was committed.
func (w *writer) happened(t *txn) (bool, error) {
	_, ok, err := w.c.number("SELECT id FROM batch WHERE id = ? AND run = ?", t.batch, w.run)
	if err != nil {
		return false, fmt.Errorf("look for batch %d: %w", t.batch, err)
	}
	return ok, nil
}

func (t *txn) connections() error {
	for i := range t.work.rows {
		if err := t.connection(&t.work.rows[i]); err != nil {
			return fmt.Errorf("write connection: %w", err)
		}
	}
	if err := t.w.inserts.flush(); err != nil {
		return fmt.Errorf("write connection: %w", err)
	}
	return nil
}

func (t *txn) seenExecs() error {
	for _, e := range t.work.execs {
		if err := t.exec(e); err != nil {
			return fmt.Errorf("write exec: %w", err)
		}
	}
	return nil
}

func (t *txn) lost() error {
	for _, l := range t.work.losses {
		if err := t.loss(l); err != nil {
			return fmt.Errorf("write loss: %w", err)
		}
	}
	return nil
}

// finish writes the row of the batch and the counters.
func (t *txn) finish(now time.Time) error {
	c, execs := t.w.c, int64(len(t.work.execs))
	_, err := c.exec("INSERT INTO batch (id, time, run, inserted, updated, execs, sent, received) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		t.batch, schema.FromTime(now), t.w.run, t.inserted, t.updated, execs,
		schema.FromCount(t.total.sent), schema.FromCount(t.total.received))
	if err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	return errors.Join(c.count("connection", t.inserted), c.count("exec_log", execs))
}

// count adds to a counter of rows.
func (c *conn) count(name string, n int64) error {
	if n == 0 {
		return nil
	}
	if _, err := c.exec("UPDATE counter SET value = value + ? WHERE name = ?", n, name); err != nil {
		return fmt.Errorf("count rows of %s: %w", name, err)
	}
	return nil
}
