package query

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// Run is one run of the daemon. Between two runs nothing was watched.
type Run struct {
	ID      int64     `json:"id"`
	Started time.Time `json:"started"`
	// Stopped is when it ended: zero while it runs; for a run that did not
	// end in order, the time of its last batch.
	Stopped time.Time `json:"stopped"`
	Clean   bool      `json:"clean"` // it ended in order
	Version string    `json:"version"`
	Tier    string    `json:"tier"`
	Boot    string    `json:"boot"`
}

// Runs lists the runs in the order of their start.
func (db *DB) Runs(ctx context.Context) (out []Run, err error) {
	err = db.read(ctx, func(r *reader) error {
		out, err = r.runs(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return out, nil
}

func (r *reader) runs(ctx context.Context) (out []Run, err error) {
	err = r.each(ctx, "SELECT id, started, stopped, clean, version, tier, boot FROM run ORDER BY id", nil, func(rows *sql.Rows) error {
		var n Run
		var started int64
		var stopped sql.NullInt64
		if err := rows.Scan(&n.ID, &started, &stopped, &n.Clean, &n.Version, &n.Tier, &n.Boot); err != nil {
			return err
		}
		n.Started, n.Stopped = schema.ToTime(started), schema.ToTime(stopped.Int64)
		out = append(out, n)
		return nil
	})
	return out, err
}

// Loss is something that was not recorded as it should have been.
type Loss struct {
	Time     time.Time       `json:"time"`
	Cause    string          `json:"cause"`
	Count    uint64          `json:"count"`
	Sent     uint64          `json:"sent"`
	Received uint64          `json:"received"`
	Process  *event.Ancestor `json:"process"` // nil when unknown
	Detail   string          `json:"detail"`
}

// Losses lists what was lost from since until before until (zero: no bound),
// oldest first, at most limit rows (0: all).
func (db *DB) Losses(ctx context.Context, since, until time.Time, limit int) (out []Loss, err error) {
	const text = `SELECT l.time, l.cause, l.count, l.sent, l.received, l.detail, l.process FROM loss l
		WHERE time >= ? AND time < ? ORDER BY time, run, id LIMIT ?`
	err = db.read(ctx, func(r *reader) error {
		var processes []sql.NullInt64
		err := r.each(ctx, text, timeRange(since, until, limit), func(rows *sql.Rows) error {
			var l Loss
			var at int64
			var cause event.LossCause
			var process sql.NullInt64
			if err := rows.Scan(&at, &cause, &l.Count, &l.Sent, &l.Received, &l.Detail, &process); err != nil {
				return err
			}
			l.Time, l.Cause = schema.ToTime(at), cause.String()
			out, processes = append(out, l), append(processes, process)
			return nil
		})
		if err != nil {
			return err
		}
		for i, id := range processes {
			if !id.Valid {
				continue
			}
			p, err := r.process(ctx, id.Int64, event.MaxAncestors)
			if err != nil {
				return err
			}
			a := p.Ancestor
			out[i].Process = &a
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read losses: %w", err)
	}
	return out, nil
}

// Exec is one row of the every-executable record: the fields of the process in
// a Record, those of the connection empty.
type Exec = event.Record

// Execs calls f with each process image that began from since until before
// until (zero: no bound), oldest first, at most limit (0: all). Filters on
// what an exec does not have match as if it were empty.
func (db *DB) Execs(ctx context.Context, q Query, f func(Exec) error) error {
	const text = `SELECT time, run, id, process, pid, context FROM exec_log
		WHERE (time, run, id) > (?, ?, ?) AND time < ? ORDER BY time, run, id LIMIT ?`
	bounds := timeRange(q.Since, q.Until, q.Limit)
	cursor := key{bounds[0].(int64), -1, 0}
	left := bounds[2].(int64)
	for left > 0 {
		var chunk []Exec
		err := db.read(ctx, func(r *reader) error {
			var found []row
			err := r.each(ctx, text, []any{cursor.opened, cursor.run, cursor.id, bounds[1], int64(chunkRows)}, func(rows *sql.Rows) error {
				var w row
				defer func() { found = append(found, w) }()
				return rows.Scan(&w.opened, &w.run, &w.id, &w.process, &w.pid, &w.context)
			})
			for i := 0; err == nil && i < len(found); i++ {
				var e Exec
				e, err = r.exec(ctx, &found[i])
				chunk, cursor = append(chunk, e), found[i].key
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("read execs: %w", err)
		}
		for i := range chunk {
			if !q.Filters.Match(&chunk[i]) {
				continue
			}
			if err := f(chunk[i]); err != nil {
				return err
			}
			if left--; left == 0 {
				return nil
			}
		}
		if len(chunk) < chunkRows {
			return nil
		}
	}
	return nil
}

func (r *reader) exec(ctx context.Context, w *row) (Exec, error) {
	e := Exec{Time: schema.ToTime(w.opened), PID: w.pid}
	a, err := r.actor(ctx, w.context)
	if err != nil {
		return e, err
	}
	e.UID, e.NetNS, e.Cgroup, e.Unit, e.Container, e.User = a.uid, a.netns, a.cgroup, a.unit, a.container, r.account(&a)
	return e, r.fillProcess(ctx, w, &e)
}

// timeRange are the arguments "from", "before" and "at most".
func timeRange(since, until time.Time, limit int) []any {
	from, to, most := int64(-1<<63), int64(1<<63-1), int64(1<<62)
	if !since.IsZero() {
		from = schema.FromTime(since)
	}
	if !until.IsZero() {
		to = schema.FromTime(until)
	}
	if limit > 0 {
		most = int64(limit)
	}
	return []any{from, to, most}
}

// each calls f with every row of a query, in a read transaction of its own.
func (db *DB) each(ctx context.Context, text string, args []any, f func(*sql.Rows) error) error {
	return db.read(ctx, func(r *reader) error { return r.each(ctx, text, args, f) })
}

func (r *reader) each(ctx context.Context, text string, args []any, f func(*sql.Rows) error) error {
	rows, err := r.tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return rows.Err()
}
