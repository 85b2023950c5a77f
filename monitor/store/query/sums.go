package query

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// Sum is what was added up for one value of a dimension.
type Sum struct {
	Key         string `json:"key"`
	Sent        uint64 `json:"sent"`
	Received    uint64 `json:"received"`
	Connections uint64 `json:"connections"`
}

// grouping is how a dimension is shown: rows of rollup with the same label are
// one group.
type grouping struct {
	name  string
	dim   schema.Dim
	join  string
	label string
	show  func(label any) string // nil: as it is
}

func groupings() []grouping {
	const executable = "LEFT JOIN executable t ON t.id = key"
	const cgroup = "LEFT JOIN cgroup t ON t.id = key"
	const text = "LEFT JOIN text t ON t.id = key"
	const path = "CASE WHEN t.view = '' THEN t.path ELSE t.view || ':' || t.path END"
	return []grouping{
		{"exe", schema.DimExecutable, executable, path, nil},
		{"sha256", schema.DimExecutable, executable, "lower(hex(t.sha256))", nil},
		{"parent.exe", schema.DimParent, executable, path, nil},
		{"name", schema.DimName, text, "t.value", nil},
		{"uid", schema.DimUID, "", "key", nil},
		{"domain", schema.DimDomain, "LEFT JOIN domain t ON t.id = key", "t.name", nil},
		{"raddr", schema.DimAddress, "LEFT JOIN address t ON t.id = key", "t.bytes", showAddress},
		{"port", schema.DimPort, "", "key", showService},
		{"country", schema.DimCountry, text, "t.value", nil},
		{"unit", schema.DimCgroup, cgroup, "t.unit", nil},
		{"container", schema.DimCgroup, cgroup, "t.container", nil},
		{"cgroup", schema.DimCgroup, cgroup, "t.path", nil},
		{"rule", schema.DimRule, text, "t.value", nil},
		{"action", schema.DimAction, "", "key", func(v any) string {
			n, _ := v.(int64)
			return event.Action(n).String()
		}},
	}
}

func showAddress(v any) string {
	b, _ := v.([]byte)
	a, err := schema.ToAddr(b)
	if err != nil {
		return ""
	}
	return a.String()
}

// showService is "tcp/443", the port being that of the service.
func showService(v any) string {
	n, _ := v.(int64)
	family, proto, port := schema.SplitServiceKey(n)
	return event.ProtoName(family, proto) + "/" + strconv.Itoa(int(port))
}

// Dimensions lists what GroupBy can group by.
func Dimensions() []string {
	all := groupings()
	out := make([]string, len(all))
	for i, g := range all {
		out[i] = g.name
	}
	return out
}

// GroupBy adds up what moved from since until before until (zero: no bound)
// by the values of a dimension, most bytes first, at most limit of them (0:
// all). The bounds are rounded outwards to minutes, and further back, where
// minutes are no longer kept, to hours and days of UTC.
func (db *DB) GroupBy(ctx context.Context, by string, since, until time.Time, limit int) ([]Sum, error) {
	all := groupings()
	i := slices.IndexFunc(all, func(g grouping) bool { return g.name == by })
	if i < 0 {
		return nil, fmt.Errorf("group by %q: no such dimension (%s)", by, suggest(by, Dimensions()))
	}
	if limit <= 0 {
		limit = math.MaxInt32
	}
	var out []Sum
	err := db.read(ctx, func(r *reader) (err error) {
		out, err = r.groups(ctx, &all[i], since, until, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("group by %s: %w", by, err)
	}
	return out, nil
}

// Totals adds up everything that moved; for the bounds see GroupBy.
func (db *DB) Totals(ctx context.Context, since, until time.Time) (Sum, error) {
	total := Sum{Key: "total"}
	err := db.read(ctx, func(r *reader) error {
		g := grouping{name: "total", dim: schema.DimTotal, label: "key"}
		sums, err := r.groups(ctx, &g, since, until, 1)
		if err == nil && len(sums) > 0 {
			total = sums[0]
			total.Key = "total"
		}
		return err
	})
	if err != nil {
		return Sum{}, fmt.Errorf("add up totals: %w", err)
	}
	return total, nil
}

func (r *reader) groups(ctx context.Context, g *grouping, since, until time.Time, limit int) ([]Sum, error) {
	parts, err := r.segments(ctx, since, until)
	if err != nil || len(parts) == 0 {
		return nil, err
	}
	var b builder
	dim := b.arg(int64(g.dim))
	selects := make([]string, len(parts))
	for i, p := range parts {
		selects[i] = "SELECT key, sent, received, connections FROM rollup WHERE dim = " + dim + " AND res = " + b.arg(int64(p.res)) +
			" AND bucket >= " + b.arg(p.from) + " AND bucket < " + b.arg(p.to)
	}
	text := "SELECT " + g.label + " AS label, sum(sent), sum(received), sum(connections) FROM (" + strings.Join(selects, " UNION ALL ") +
		") " + g.join + " GROUP BY label HAVING sum(connections) <> 0 OR sum(sent) <> 0 OR sum(received) <> 0 ORDER BY sum(sent) + sum(received) DESC, label LIMIT " + b.arg(int64(limit))
	rows, err := r.tx.QueryContext(ctx, text, b.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Sum
	for rows.Next() {
		var label any
		var s Sum
		if err := rows.Scan(&label, &s.Sent, &s.Received, &s.Connections); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		s.Key = showLabel(g, label)
		out = append(out, s)
	}
	return out, rows.Err()
}

func showLabel(g *grouping, label any) string {
	if g.show != nil {
		return g.show(label)
	}
	switch v := label.(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	}
	return fmt.Sprint(label)
}

// segment is a run of buckets of one resolution.
type segment struct {
	res      schema.Resolution
	from, to int64
}

// segments covers a range of time with the coarsest buckets that fit: days in
// the middle, hours around them, minutes at the edges and for what was not
// added up yet.
func (r *reader) segments(ctx context.Context, since, until time.Time) ([]segment, error) {
	from, to := int64(0), int64(1)<<40
	if !since.IsZero() {
		from = max(from, since.Unix())
	}
	if !until.IsZero() {
		to = min(to, until.Add(time.Minute-1).Unix())
	}
	from, to = floor(from, schema.Minute), floor(to, schema.Minute)
	var out []segment
	if err := r.cover(ctx, schema.Day, from, to, &out); err != nil {
		return nil, fmt.Errorf("read state of rollups: %w", err)
	}
	return out, nil
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
