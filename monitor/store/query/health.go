package query

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// Health is what the record tells of itself, for a range of time.
type Health struct {
	Bytes  uint64    `json:"bytes"` // of the database's files
	Rows   uint64    `json:"rows"`  // connections
	Execs  uint64    `json:"execs"` // rows of the every-executable record
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
	Runs   []Run     `json:"runs"`   // of the daemon, within the range, the newest first, at most MaxRuns
	Gaps   []Gap     `json:"gaps"`   // within the range, the newest first, at most MaxRuns
	Losses []LossSum `json:"losses"` // within the range, the largest count first
	Alerts AlertSums `json:"alerts"` // of all times, by state
}

// MaxRuns bounds the runs and gaps of a Health.
const MaxRuns = 100

// Gap is a time in which nothing was watched: between two runs.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Crash  bool      `json:"crash"`  // the run before it did not end in order
	Reboot bool      `json:"reboot"` // the next run was in another boot
}

// LossSum adds up what one cause lost.
type LossSum struct {
	Cause    string    `json:"cause"`
	Count    uint64    `json:"count"`
	Sent     uint64    `json:"sent"` // bytes, where known
	Received uint64    `json:"received"`
	Last     time.Time `json:"last"`
}

// AlertSums counts alerts by state.
type AlertSums struct {
	New      uint64 `json:"new"`
	Seen     uint64 `json:"seen"`
	Resolved uint64 `json:"resolved"`
}

// Health tells how whole the record is, from since until before until (zero:
// no bound).
func (db *DB) Health(ctx context.Context, since, until time.Time) (h Health, err error) {
	err = db.read(ctx, func(r *reader) error {
		h, err = r.health(ctx, since, until)
		return err
	})
	if err == nil {
		h.Bytes, err = size(db.path)
	}
	if err != nil {
		return Health{}, fmt.Errorf("read health: %w", err)
	}
	return h, nil
}

// size is that of the three files of the database.
func size(path string) (n uint64, err error) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return 0, err
		default:
			n += uint64(info.Size())
		}
	}
	return n, nil
}

func (r *reader) health(ctx context.Context, since, until time.Time) (h Health, err error) {
	var oldest, newest sql.NullInt64
	err = r.tx.QueryRowContext(ctx, `SELECT (SELECT opened FROM connection ORDER BY opened LIMIT 1), (SELECT opened FROM connection ORDER BY opened DESC LIMIT 1),
		(SELECT value FROM counter WHERE name = 'connection'), (SELECT value FROM counter WHERE name = 'exec_log'),
		(SELECT count(*) FROM alert WHERE state = ?), (SELECT count(*) FROM alert WHERE state = ?), (SELECT count(*) FROM alert WHERE state = ?)`,
		int64(event.AlertNew), int64(event.AlertSeen), int64(event.AlertResolved)).Scan(&oldest, &newest, &h.Rows, &h.Execs, &h.Alerts.New, &h.Alerts.Seen, &h.Alerts.Resolved)
	if err != nil {
		return h, err
	}
	h.Oldest, h.Newest = schema.ToTime(oldest.Int64), schema.ToTime(newest.Int64)
	if h.Losses, err = r.lossSums(ctx, since, until); err != nil {
		return h, err
	}
	runs, err := r.runs(ctx)
	if err != nil {
		return h, err
	}
	h.Runs, h.Gaps = []Run{}, []Gap{}
	within := func(from, to time.Time) bool {
		return (until.IsZero() || from.Before(until)) && (to.IsZero() || !to.Before(since))
	}
	for i := len(runs) - 1; i >= 0; i-- {
		run := runs[i]
		if within(run.Started, run.Stopped) && len(h.Runs) < MaxRuns {
			h.Runs = append(h.Runs, run)
		}
		if i == 0 || len(h.Gaps) == MaxRuns {
			continue
		}
		before := runs[i-1]
		if within(before.Stopped, run.Started) && before.Stopped.Before(run.Started) {
			h.Gaps = append(h.Gaps, Gap{From: before.Stopped, To: run.Started, Crash: !before.Clean, Reboot: before.Boot != run.Boot})
		}
	}
	return h, nil
}

func (r *reader) lossSums(ctx context.Context, since, until time.Time) ([]LossSum, error) {
	out := []LossSum{}
	err := r.each(ctx, `SELECT cause, CAST(total(count) AS INTEGER), CAST(total(sent) AS INTEGER), CAST(total(received) AS INTEGER), max(time) FROM loss WHERE time >= ? AND time < ? GROUP BY cause`,
		timeRange(since, until, 0)[:2], func(rows *sql.Rows) error {
			var s LossSum
			var cause event.LossCause
			var last int64
			err := rows.Scan(&cause, &s.Count, &s.Sent, &s.Received, &last)
			s.Cause, s.Last = cause.String(), schema.ToTime(last)
			out = append(out, s)
			return err
		})
	slices.SortFunc(out, func(a, b LossSum) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Cause, b.Cause))
	})
	return out, err
}
