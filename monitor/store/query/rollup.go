package query

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// segment is a run of buckets of one resolution.
type segment struct {
	res      schema.Resolution
	from, to int64
}

// segments covers the range of p with the coarsest buckets that fit: days in
// the middle, hours around them, minutes at the edges and for what was not
// added up yet; where time matters, none that are wider than its buckets. The
// range becomes what is covered.
func (r *reader) segments(ctx context.Context, p *plan) ([]segment, error) {
	from, to := int64(0), int64(1)<<40
	if !p.since.IsZero() {
		from = max(from, p.since.Unix())
	}
	if !p.until.IsZero() {
		to = min(to, p.until.Add(time.Minute-1).Unix())
	}
	coarsest := schema.Day
	if p.timed() {
		from, to = max(from, p.line.from), min(to, p.line.to)
		coarsest = fitting(p.line.width)
	}
	var out []segment
	if err := r.cover(ctx, coarsest, floor(from, schema.Minute), floor(to, schema.Minute), &out); err != nil {
		return nil, fmt.Errorf("read state of rollups: %w", err)
	}
	for _, s := range out {
		from, to = min(from, s.from), max(to, s.to)
	}
	if !p.since.IsZero() {
		p.since = time.Unix(floor(from, schema.Minute), 0).UTC()
	}
	if !p.until.IsZero() {
		p.until = time.Unix(to, 0).UTC()
	}
	return out, nil
}

// fitting is the coarsest resolution of which whole buckets fit in a width.
func fitting(width int64) schema.Resolution {
	for _, res := range []schema.Resolution{schema.Day, schema.Hour} {
		if width%res.Seconds() == 0 {
			return res
		}
	}
	return schema.Minute
}

func floor(n int64, res schema.Resolution) int64 { return n - n%res.Seconds() }

func ceil(n int64, res schema.Resolution) int64 { return floor(n+res.Seconds()-1, res) }

// cover covers [from, to) with buckets of res where they are complete, and the
// rest with finer ones. An edge for which the finer ones are gone is rounded
// outwards.
func (r *reader) cover(ctx context.Context, res schema.Resolution, from, to int64, out *[]segment) error {
	if from >= to {
		return nil
	}
	if res == schema.Minute {
		*out = append(*out, segment{res, from, to})
		return nil
	}
	var folded, oldest int64
	err := r.tx.QueryRowContext(ctx, `SELECT folded, ifnull((SELECT min(bucket) FROM rollup WHERE dim = 1 AND res = ?), folded)
		FROM rollup_state WHERE res = ?`, int64(res)-1, int64(res)).Scan(&folded, &oldest)
	if err != nil {
		return err
	}
	first, last := ceil(from, res), floor(to, res)
	if from < oldest {
		first = floor(from, res)
	}
	if last < oldest {
		last = ceil(to, res)
	}
	last = min(last, folded)
	if first >= last {
		return r.cover(ctx, res-1, from, to, out)
	}
	*out = append(*out, segment{res, first, last})
	if err := r.cover(ctx, res-1, from, first, out); err != nil {
		return err
	}
	return r.cover(ctx, res-1, max(last, from), to, out)
}

// tallyKeys adds up rollups by bucket (0 when time does not matter) and key.
func (r *reader) tallyKeys(ctx context.Context, p *plan) (*tally, error) {
	parts, err := r.segments(ctx, p)
	if err != nil {
		return nil, err
	}
	t, timed := newTally(), p.timed()
	for _, s := range parts {
		err := r.raw(ctx, selectSums, []any{int64(p.dim), int64(s.res), s.from, s.to}, func(v []driver.Value) {
			k := groupKey{0, integer(v[0])}
			if timed {
				k[0] = p.line.start(integer(v[1]))
			}
			t.add(k, sumOf(v, s.res))
		})
		if err != nil {
			return nil, fmt.Errorf("read sums: %w", err)
		}
	}
	return t, nil
}

// tallySums adds up rollups by the fields of p. It reads all keys first and
// asks what they mean then: while it reads, the driver is lent.
func (r *reader) tallySums(ctx context.Context, p *plan) (*tally, error) {
	raw, err := r.tallyKeys(ctx, p)
	if err != nil {
		return nil, err
	}
	out := newTally()
	err = r.interned(ctx, func(t *interned) error {
		keys := make([]int64, len(raw.keys))
		for i, k := range raw.keys {
			keys[i] = k[1]
		}
		wanted, err := r.matching(ctx, t, p, keys)
		if err != nil {
			return err
		}
		for i := range raw.keys {
			if !raw.sums[i].empty() && wanted(keys[i]) {
				out.add(p.keyOf(t, raw.keys[i]), raw.sums[i])
			}
		}
		return nil
	})
	return out, err
}

const selectSums = `SELECT key, bucket, sent, received, connections, denied, would_deny FROM rollup WHERE dim = ? AND res = ? AND bucket >= ? AND bucket < ?`

// unsigned is a sum of bytes.
func unsigned(v driver.Value) uint64 { return uint64(max(0, integer(v))) }

// nanoseconds are those of a second, as far as they fit.
func nanoseconds(second int64) int64 {
	const most = math.MaxInt64 / int64(time.Second)
	return min(max(second, -most), most) * int64(time.Second)
}

// keyOf makes the key of a group of that of a sum: its bucket and its key.
func (p *plan) keyOf(t *interned, raw groupKey) (k groupKey) {
	for n, f := range p.by {
		switch {
		case f == nil:
			k[n] = raw[0]
		case f.group.ofKey != nil:
			k[n] = f.group.ofKey(t, raw[1])
		default:
			k[n] = raw[1]
		}
	}
	return k
}

// matching tells which keys of p's dimension pass its filters.
func (r *reader) matching(ctx context.Context, t *interned, p *plan, keys []int64) (func(int64) bool, error) {
	if len(p.filters) == 0 {
		return func(int64) bool { return true }, nil
	}
	keys = slices.Clone(keys)
	slices.Sort(keys)
	keys = slices.Compact(keys)
	records, err := r.keyRecords(ctx, t, p.dim, keys)
	if err != nil {
		return nil, err
	}
	passes := make(map[int64]bool, len(keys))
	for i, k := range keys {
		passes[k] = p.filters.Match(&records[i])
	}
	return func(k int64) bool { return passes[k] }, nil
}

// keyRecords are records that have of a connection what the keys of one
// dimension tell of it: all that the filters on its fields look at.
func (r *reader) keyRecords(ctx context.Context, t *interned, dim schema.Dim, keys []int64) ([]event.Record, error) {
	out := make([]event.Record, len(keys))
	named := func(l labeller, to func(*event.Record) *string) error {
		names, _, err := l.labels(ctx, r, t, keys)
		for i := range names {
			*to(&out[i]) = names[i]
		}
		return err
	}
	switch dim {
	case schema.DimName:
		return out, named(textLabels, func(rec *event.Record) *string { return &rec.Name })
	case schema.DimDomain:
		return out, named(domainLabels, func(rec *event.Record) *string { return &rec.Domain })
	case schema.DimAddress:
		return out, named(addressLabels, func(rec *event.Record) *string { return &rec.RAddr })
	case schema.DimCountry:
		return out, named(textLabels, func(rec *event.Record) *string { return &rec.Country })
	case schema.DimRule:
		return out, named(textLabels, func(rec *event.Record) *string { return &rec.Rule })
	}
	for i, k := range keys {
		t.fill(&out[i], dim, k)
	}
	return out, nil
}

// fill sets what a key of a dimension in memory tells.
func (t *interned) fill(rec *event.Record, dim schema.Dim, key int64) {
	switch dim {
	case schema.DimExecutable, schema.DimParent:
		x := t.executables[key]
		a := event.Ancestor{Exe: t.words[x.path], ExeView: t.words[x.view], Package: t.words[x.pkg], SHA256: t.words[x.sha]}
		if dim == schema.DimParent {
			rec.Parent = &a
		} else {
			rec.Ancestor = a
		}
	case schema.DimUID:
		rec.UID = uint32(key)
	case schema.DimPort:
		family, proto, port := schema.SplitServiceKey(key)
		rec.Direction, rec.Proto, rec.RPort = event.Out.String(), event.ProtoName(family, proto), port
	case schema.DimCgroup:
		g := t.cgroups[key]
		rec.Cgroup, rec.Unit, rec.Container = t.words[g.path], t.words[g.unit], t.words[g.container]
	case schema.DimAction:
		rec.Action = event.Action(key).String()
	}
}
