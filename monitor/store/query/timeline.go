package query

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"snitch/monitor/store/schema"
)

// widths are those that buckets may have, in seconds. They divide each other's
// multiples of minutes, hours and days, which the rollups have.
func widths() []int64 {
	const minute, hour, day = 60, 3600, 86400
	return []int64{minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute, hour, 2 * hour, 3 * hour, 4 * hour, 6 * hour, 12 * hour,
		day, 2 * day, 7 * day, 14 * day, 28 * day, 91 * day, 182 * day, 364 * day, 3640 * day, 36400 * day}
}

// timeline chooses the buckets for p: the narrowest that are not more than its
// points and that the record still has.
func (r *reader) timeline(ctx context.Context, p *plan) error {
	from, to := p.since.Unix(), p.until.Add(time.Second-1).Unix()
	if p.until.IsZero() {
		to = time.Now().Add(time.Second).Unix()
	}
	if p.since.IsZero() {
		begin, err := r.begin(ctx, p.dim)
		if err != nil {
			return fmt.Errorf("find the beginning: %w", err)
		}
		from = min(begin, to-60)
	}
	least, err := r.leastWidth(ctx, p.dim, from)
	if err != nil {
		return fmt.Errorf("find what is kept: %w", err)
	}
	for _, width := range widths() {
		p.line = timeline{below(from, width), to, width}
		if width >= least && p.line.buckets() <= p.points {
			break
		}
	}
	return nil
}

// begin is the first second of which there is something.
func (r *reader) begin(ctx context.Context, dim schema.Dim) (int64, error) {
	text := "SELECT min(b) FROM (SELECT min(bucket) AS b FROM rollup WHERE dim = 1 AND res = 0 UNION ALL SELECT min(bucket) FROM rollup WHERE dim = 1 AND res = 1" +
		" UNION ALL SELECT min(bucket) FROM rollup WHERE dim = 1 AND res = 2)"
	scale := int64(1)
	if dim == schema.DimInvalid {
		text, scale = "SELECT opened FROM connection ORDER BY opened LIMIT 1", int64(time.Second)
	}
	var n sql.NullInt64
	err := r.tx.QueryRowContext(ctx, text).Scan(&n)
	if err == sql.ErrNoRows || err == nil && !n.Valid {
		return time.Now().Add(-time.Hour).Unix(), nil
	}
	return below(n.Int64, scale) / scale, err
}

// leastWidth is the width of the narrowest sums that reach back to from.
func (r *reader) leastWidth(ctx context.Context, dim schema.Dim, from int64) (int64, error) {
	if dim == schema.DimInvalid {
		return 0, nil
	}
	var minute, hour, day sql.NullInt64
	err := r.tx.QueryRowContext(ctx, `SELECT (SELECT min(bucket) FROM rollup WHERE dim = 1 AND res = 0),
		(SELECT min(bucket) FROM rollup WHERE dim = 1 AND res = 1), (SELECT min(bucket) FROM rollup WHERE dim = 1 AND res = 2)`).Scan(&minute, &hour, &day)
	if err != nil {
		return 0, err
	}
	// older reports whether there are coarser sums from before those finer ones.
	older := func(coarse, fine sql.NullInt64, res schema.Resolution) bool {
		return coarse.Valid && (!fine.Valid || coarse.Int64+res.Seconds() <= fine.Int64) && (!fine.Valid || from < fine.Int64)
	}
	switch {
	case older(day, hour, schema.Day):
		return schema.Day.Seconds(), nil
	case older(hour, minute, schema.Hour):
		return schema.Hour.Seconds(), nil
	}
	return schema.Minute.Seconds(), nil
}
