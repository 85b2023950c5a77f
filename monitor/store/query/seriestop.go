package query

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"
	"strings"

	"snitch/monitor/store/schema"
)

// notTop is the value under which tallyTop adds up all that is not at the top.
// No field has it.
const notTop = math.MinInt64

// seekKeys is how many keys tallyTop looks up in each bucket; beyond it all
// are read.
const seekKeys = 64

// tallyTop is tally for a chart by one dimension: only what moved most is read
// bucket by bucket, everything else is the difference to the total. A month of
// hours has hundreds of thousands of sums by name, and a chart shows eight.
func (db *DB) tallyTop(ctx context.Context, p *plan, top int) (t *tally, err error) {
	err = db.read(ctx, func(r *reader) error {
		if err := r.timeline(ctx, p); err != nil {
			return err
		}
		keys, more, err := r.topKeys(ctx, p, top)
		if err != nil {
			return err
		}
		if len(keys) > seekKeys || !more {
			t, err = r.tallySums(ctx, p)
			return err
		}
		t, err = r.seekSums(ctx, p, keys)
		return err
	})
	return t, err
}

// topKeys are the keys of the values that moved most over the whole range,
// which is read in the widest buckets; more says that there are other values.
func (r *reader) topKeys(ctx context.Context, p *plan, top int) (keys []int64, more bool, err error) {
	whole := *p
	whole.by = p.by[1:] // without the time
	raw, err := r.tallyKeys(ctx, &whole)
	if err != nil {
		return nil, false, err
	}
	err = r.interned(ctx, func(t *interned) error {
		totals, of := map[int64]uint64{}, map[int64][]int64{}
		for i, k := range raw.keys {
			if raw.sums[i].empty() {
				continue
			}
			v := whole.keyOf(t, k)[0]
			totals[v] = plus(totals[v], raw.sums[i].bytes())
			of[v] = append(of[v], k[1])
		}
		values := make([]int64, 0, len(totals))
		for v := range totals {
			values = append(values, v)
		}
		slices.SortFunc(values, func(a, b int64) int { return cmp.Or(cmp.Compare(totals[b], totals[a]), cmp.Compare(a, b)) })
		more = len(values) > top
		for _, v := range values[:min(top, len(values))] {
			keys = append(keys, of[v]...)
		}
		return nil
	})
	return keys, more, err
}

// seekSums reads the sums of some keys bucket by bucket, and of all others
// together.
func (r *reader) seekSums(ctx context.Context, p *plan, keys []int64) (*tally, error) {
	parts, err := r.segments(ctx, p)
	if err != nil {
		return nil, err
	}
	raw, rest := newTally(), newTally()
	for _, s := range parts {
		var b builder
		text := seekText(&b, p.dim, s, keys)
		err := r.raw(ctx, text, b.args, func(v []driver.Value) { raw.add(groupKey{p.line.start(integer(v[1])), integer(v[0])}, sumOf(v, s.res)) })
		if err == nil {
			err = r.raw(ctx, selectSums, []any{int64(schema.DimTotal), int64(s.res), s.from, s.to}, func(v []driver.Value) {
				rest.add(groupKey{p.line.start(integer(v[1])), notTop}, sumOf(v, s.res))
			})
		}
		if err != nil {
			return nil, fmt.Errorf("read sums: %w", err)
		}
	}
	out := newTally()
	err = r.interned(ctx, func(t *interned) error {
		for i, k := range raw.keys {
			out.add(p.keyOf(t, k), raw.sums[i])
			at := rest.index[groupKey{k[0], notTop}] // every bucket has a total
			rest.sums[at].subtract(&raw.sums[i])
		}
		for i, k := range rest.keys {
			out.add(k, rest.sums[i])
		}
		return nil
	})
	return out, err
}

// seekText selects the sums of some keys in a segment. CROSS JOIN keeps the
// order: for each bucket that there is, each key.
func seekText(b *builder, dim schema.Dim, s segment, keys []int64) string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = "(" + b.arg(k) + ")"
	}
	res := b.arg(int64(s.res))
	return "WITH wanted(id) AS (VALUES " + strings.Join(list, ",") + ") SELECT r.key, r.bucket, r.sent, r.received, r.connections, r.denied, r.would_deny" +
		" FROM rollup t CROSS JOIN wanted CROSS JOIN rollup r WHERE t.dim = 1 AND t.res = " + res + " AND t.bucket >= " + b.arg(s.from) + " AND t.bucket < " + b.arg(s.to) +
		" AND r.dim = " + b.arg(int64(dim)) + " AND r.res = " + res + " AND r.bucket = t.bucket AND r.key = wanted.id"
}

// sumOf is a row of selectSums.
func sumOf(v []driver.Value, res schema.Resolution) sums {
	bucket := integer(v[1])
	return sums{sent: unsigned(v[2]), received: unsigned(v[3]), connections: uint64(integer(v[4])), denied: uint64(integer(v[5])), would: uint64(integer(v[6])),
		first: nanoseconds(bucket), last: nanoseconds(bucket + res.Seconds() - 1)}
}
