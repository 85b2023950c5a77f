package store

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// sumKey is the key of a row of rollup at the resolution of a minute.
type sumKey struct {
	dim    schema.Dim
	bucket int64 // Unix time of the minute's start
	key    int64
}

type sum struct{ sent, received, connections, denied, would int64 }

func (n sum) negative() sum { return sum{-n.sent, -n.received, -n.connections, -n.denied, -n.would} }

// sums are what one transaction adds to the rollups.
type sums map[sumKey]*sum

// add adds what is new of a connection to the sums of every dimension.
func (s sums) add(c *event.Connection, r *refs, minute int64, n sum) {
	if n == (sum{}) {
		return
	}
	port := c.Remote.Port()
	if c.Direction != event.Out {
		port = c.Local.Port()
	}
	bucket := minute * schema.Minute.Seconds()
	for _, k := range [...]struct {
		dim schema.Dim
		key int64
	}{
		{schema.DimTotal, 0}, {schema.DimExecutable, r.executable}, {schema.DimParent, r.parentExecutable},
		{schema.DimName, r.name}, {schema.DimUID, int64(c.UID)}, {schema.DimDomain, r.domain},
		{schema.DimAddress, r.raddr}, {schema.DimPort, schema.ServiceKey(c.Family, c.Proto, port)},
		{schema.DimCountry, r.country}, {schema.DimCgroup, r.cgroup}, {schema.DimRule, r.rule},
		{schema.DimAction, int64(c.Decision.Action)},
	} {
		s.put(sumKey{k.dim, bucket, k.key}, n)
	}
}

// put adds n to one sum.
func (s sums) put(at sumKey, n sum) {
	have := s[at]
	if have == nil {
		have = new(sum)
		s[at] = have
	}
	have.sent, have.received, have.connections = have.sent+n.sent, have.received+n.received, have.connections+n.connections
	have.denied, have.would = have.denied+n.denied, have.would+n.would
}

const (
	addSum     = "INSERT INTO rollup (dim, res, bucket, key, sent, received, connections, denied, would_deny)"
	sumColumns = 9
	mergeSum   = `ON CONFLICT (dim, res, bucket, key) DO UPDATE SET
sent = sent + excluded.sent, received = received + excluded.received, connections = connections + excluded.connections,
denied = denied + excluded.denied, would_deny = would_deny + excluded.would_deny`
)

// flushSums writes the sums in the order of the table. A minute whose hour (or
// an hour whose day) was added up already goes there too.
func (t *txn) flushSums() error {
	keys := make([]sumKey, 0, len(t.sums))
	for k := range t.sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b sumKey) int {
		return cmp.Or(cmp.Compare(a.dim, b.dim), cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.key, b.key))
	})
	for _, k := range keys {
		n := *t.sums[k]
		if n == (sum{}) {
			continue // undecided and decided in one transaction
		}
		if err := t.addSum(schema.Minute, k, n); err != nil {
			return err
		}
		if k.bucket >= t.w.fold.hours {
			continue
		}
		if err := t.addSum(schema.Hour, k, n); err != nil {
			return err
		}
		if k.bucket >= t.w.fold.days {
			continue
		}
		if err := t.addSum(schema.Day, k, n); err != nil {
			return err
		}
	}
	if err := t.w.upserts.flush(); err != nil {
		return fmt.Errorf("add to rollup: %w", err)
	}
	return nil
}

func (t *txn) addSum(res schema.Resolution, k sumKey, n sum) error {
	bucket := floor(k.bucket, res.Seconds())
	if err := t.w.upserts.add(int64(k.dim), int64(res), bucket, k.key, n.sent, n.received, n.connections, n.denied, n.would); err != nil {
		return fmt.Errorf("add to rollup: %w", err)
	}
	return nil
}

// floor is the largest multiple of step that is not above n.
func floor(n, step int64) int64 {
	m := n % step
	if m < 0 {
		m += step
	}
	return n - m
}

// fold is how far minutes were added up to hours and hours to days: Unix times
// before which the coarser sums are complete.
type fold struct{ hours, days int64 }

// foldDelay is how long after its end an hour is added up: late batches of the
// last minute need no extra write then.
const foldDelay = 2 * time.Minute

const foldSums = addSum + `
SELECT dim, ?, ?, key, sum(sent), sum(received), sum(connections), sum(denied), sum(would_deny) FROM rollup
WHERE dim = ? AND res = ? AND bucket >= ? AND bucket < ? GROUP BY key ` + mergeSum

// foldNext adds up one hour or one day that has ended; done is true when there
// is none.
func (w *writer) foldNext(now time.Time) (done bool, err error) {
	limit := now.Add(-foldDelay).Unix()
	if moved, err := w.foldOne(schema.Hour, &w.fold.hours, limit); moved || err != nil {
		return false, err
	}
	moved, err := w.foldOne(schema.Day, &w.fold.days, min(limit, w.fold.hours))
	return !moved, err
}

// foldOne adds up the first bucket of res at or after *folded that has ended
// before limit, from the buckets of the next finer resolution.
func (w *writer) foldOne(res schema.Resolution, folded *int64, limit int64) (moved bool, err error) {
	step, finer := res.Seconds(), int64(res)-1
	end := floor(limit, step)
	if *folded >= end {
		return false, nil
	}
	first, ok, err := w.c.number("SELECT min(bucket) FROM rollup WHERE dim = 1 AND res = ? AND bucket >= ?", finer, *folded)
	if err != nil {
		return false, fmt.Errorf("find sums to add up: %w", err)
	}
	start := floor(first, step)
	until := start + step
	if !ok || start >= end {
		until = end // nothing there: only the mark moves
	}
	err = w.c.transaction(func() error {
		for _, dim := range schema.Dims() {
			if until == end && (!ok || start >= end) {
				break
			}
			if _, err := w.c.exec(foldSums, int64(res), start, int64(dim), finer, start, until); err != nil {
				return err
			}
		}
		_, err := w.c.exec("UPDATE rollup_state SET folded = ? WHERE res = ?", until, int64(res))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("add up sums: %w", err)
	}
	*folded = until
	return true, nil
}
