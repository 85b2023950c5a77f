package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"snitch/monitor/store/schema"
)

// Group adds connections up by one or two fields.
func (db *DB) Group(ctx context.Context, q GroupQuery) (Groups, error) {
	out, err := db.group(ctx, &q)
	if err != nil {
		return Groups{}, fmt.Errorf("group by %s: %w", strings.Join(q.By, ", "), err)
	}
	return out, nil
}

func (db *DB) group(ctx context.Context, q *GroupQuery) (out Groups, err error) {
	p, err := q.plan()
	if err != nil {
		return Groups{}, err
	}
	if p.dim != schema.DimInvalid {
		err = db.read(ctx, func(r *reader) error {
			out, err = r.groupSums(ctx, q, p)
			return err
		})
		return out, err
	}
	t, err := db.tally(ctx, p)
	if err != nil {
		return Groups{}, err
	}
	err = db.read(ctx, func(r *reader) error {
		out, err = r.show(ctx, q, p, t)
		return err
	})
	return out, err
}

// Check says what is wrong with a question: what Group would say of it too.
func (q *GroupQuery) Check() error {
	_, err := q.plan()
	return err
}

// plan checks a question and chooses how it is answered.
func (q *GroupQuery) plan() (*plan, error) {
	if n := len(q.By); n < 1 || n > MaxGroupFields {
		return nil, fmt.Errorf("%d fields, want 1 to %d", n, MaxGroupFields)
	}
	if q.Limit < 0 || q.Limit > MaxGroupLimit || q.Offset < 0 {
		return nil, fmt.Errorf("limit %d or offset %d is out of bounds", q.Limit, q.Offset)
	}
	points := q.Points
	if points == 0 {
		points = MaxSeriesPoints
	}
	if points < 1 || points > MaxSeriesPoints {
		return nil, fmt.Errorf("%d points are out of bounds", points)
	}
	return newPlan(q.By, q.Filters, q.Since, q.Until, points)
}

// group answers from rollups, which must be able to.
func (r *reader) group(ctx context.Context, q *GroupQuery) (Groups, error) {
	p, err := q.plan()
	if err != nil {
		return Groups{}, err
	}
	return r.groupSums(ctx, q, p)
}

func (r *reader) groupSums(ctx context.Context, q *GroupQuery, p *plan) (Groups, error) {
	if p.timed() {
		if err := r.timeline(ctx, p); err != nil {
			return Groups{}, err
		}
	}
	t, err := r.tallySums(ctx, p)
	if err != nil {
		return Groups{}, err
	}
	return r.show(ctx, q, p, t)
}

// show makes the answer of a tally.
func (r *reader) show(ctx context.Context, q *GroupQuery, p *plan, t *tally) (Groups, error) {
	out := Groups{By: q.By, Count: len(t.keys), Basis: p.basis(), Since: p.since, Until: p.until, Rows: []GroupRow{}, named: len(t.keys)}
	if _, ok := t.index[groupKey{}]; ok {
		out.named--
	}
	if p.timed() {
		out.Width = Seconds(time.Duration(p.line.width) * time.Second)
	}
	total := t.total()
	out.Total = total.row()
	err := r.interned(ctx, func(tables *interned) error { return r.page(ctx, tables, p, q, t, &out) })
	return out, err
}

// plan is how a question about groups is answered.
type plan struct {
	by           []*field // nil: ByTime
	filters      Filters
	since, until time.Time
	points       int
	dim          schema.Dim // of the rollups that can answer; DimInvalid: rows must be read
	line         timeline   // when a part of by is nil
}

func newPlan(by []string, filters Filters, since, until time.Time, points int) (*plan, error) {
	p := &plan{filters: filters, since: since, until: until, points: points}
	all := fields()
	for i, name := range by {
		if slices.Contains(by[:i], name) {
			return nil, fmt.Errorf("%q twice", name)
		}
		f, err := groupField(all, name)
		if err != nil {
			return nil, err
		}
		p.by = append(p.by, f)
	}
	p.dim = p.rolled()
	return p, nil
}

// groupField finds a field that can be grouped by; nil is time.
func groupField(all []field, name string) (*field, error) {
	if name == ByTime {
		return nil, nil
	}
	i := slices.IndexFunc(all, func(f field) bool { return f.name == name })
	switch {
	case i < 0:
		return nil, fmt.Errorf("no field %q (%s)", shorten(name), suggest(name, groupable(all)))
	case all[i].group == nil:
		return nil, fmt.Errorf("a connection has more than one %s", name)
	}
	return &all[i], nil
}

func groupable(all []field) []string {
	out := []string{ByTime}
	for _, f := range all {
		if f.group != nil {
			out = append(out, f.name)
		}
	}
	return out
}

// rolled is the one dimension that answers everything, if there is one.
func (p *plan) rolled() schema.Dim {
	dim := schema.DimTotal
	also := func(f *field) bool {
		if f == nil {
			return true
		}
		if f.group == nil || f.group.dim == schema.DimInvalid || dim != schema.DimTotal && dim != f.group.dim {
			return false
		}
		dim = f.group.dim
		return true
	}
	for _, f := range p.by {
		if !also(f) {
			return schema.DimInvalid
		}
	}
	for i := range p.filters {
		if !also(p.filters[i].field) {
			return schema.DimInvalid
		}
	}
	return dim
}

func (p *plan) basis() Basis {
	if p.dim == schema.DimInvalid {
		return BasisConnections
	}
	return BasisMoved
}

func (p *plan) timed() bool { return slices.Contains(p.by, nil) }

// groups are the groupings of the fields, time left out.
func (p *plan) groups() (out []*grouping) {
	for _, f := range p.by {
		if f != nil {
			out = append(out, f.group)
		}
	}
	return out
}

// tally adds up, and sets the range and the buckets of p as they were taken.
func (db *DB) tally(ctx context.Context, p *plan) (t *tally, err error) {
	if p.timed() {
		if err := db.read(ctx, func(r *reader) error { return r.timeline(ctx, p) }); err != nil {
			return nil, err
		}
	}
	if p.dim == schema.DimInvalid {
		return db.tallyRows(ctx, p)
	}
	err = db.read(ctx, func(r *reader) (err error) {
		t, err = r.tallySums(ctx, p)
		return err
	})
	return t, err
}

// tallyRows adds up connections, several stretches of time at once.
func (db *DB) tallyRows(ctx context.Context, p *plan) (*tally, error) {
	stretches, err := db.stretches(ctx, p)
	if err != nil {
		return nil, err
	}
	tallies := make([]*tally, len(stretches))
	g, ctx := errgroup.WithContext(ctx)
	for i := range stretches {
		tallies[i] = newTally()
		g.Go(func() error {
			a := adder{plan: p, out: tallies[i]}
			for _, piece := range stretches[i] {
				if err := piece.add(ctx, db, &a); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := tallies[0]
	for _, t := range tallies[1:] {
		for i, k := range t.keys {
			out.add(k, t.sums[i])
		}
	}
	return out, nil
}

// page sorts the groups and names those that were asked for.
func (r *reader) page(ctx context.Context, tables *interned, p *plan, q *GroupQuery, t *tally, out *Groups) error {
	order := make([]int, len(t.keys))
	for i := range order {
		order[i] = i
	}
	if q.Order == OrderName {
		keys, _, err := r.labels(ctx, tables, p, t, order)
		if err != nil {
			return err
		}
		sortBy(order, q.Desc, func(a, b int) int {
			return slices.CompareFunc(keys[a], keys[b], compareKeys)
		})
	} else {
		sortBy(order, q.Desc, func(a, b int) int {
			return cmp.Compare(q.Order.of(&t.sums[a]), q.Order.of(&t.sums[b]))
		})
	}
	limit := q.Limit
	if limit == 0 {
		limit = DefaultGroupLimit
	}
	order = order[min(q.Offset, len(order)):]
	if out.More = len(order) > limit; out.More {
		order = order[:limit]
	}
	keys, details, err := r.labels(ctx, tables, p, t, order)
	if err != nil {
		return err
	}
	for n, i := range order {
		row := t.sums[i].row()
		row.Keys, row.Details = keys[n], details[n]
		out.Rows = append(out.Rows, row)
	}
	return nil
}

// sortBy sorts; what is equal stays in the order in which it was met first.
func sortBy(order []int, desc bool, compare func(a, b int) int) {
	slices.SortStableFunc(order, func(a, b int) int {
		if desc {
			return compare(b, a)
		}
		return compare(a, b)
	})
}

// of is the number that an order sorts by.
func (o GroupOrder) of(s *sums) uint64 {
	switch o {
	case OrderConnections:
		return s.connections
	case OrderSent:
		return s.sent
	case OrderReceived:
		return s.received
	case OrderLast:
		return uint64(s.last) ^ 1<<63 // in the order of signed numbers
	}
	return s.bytes()
}

// compareKeys puts numbers in the order of numbers, and before words.
func compareKeys(a, b string) int {
	if digits(a) && digits(b) {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	}
	return strings.Compare(a, b)
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// labels names the groups at the given places of t.
func (r *reader) labels(ctx context.Context, tables *interned, p *plan, t *tally, places []int) (keys, details [][]string, err error) {
	keys, details = make([][]string, len(places)), make([][]string, len(places))
	for i := range places {
		keys[i], details[i] = make([]string, len(p.by)), make([]string, len(p.by))
	}
	values := make([]int64, len(places))
	for n, f := range p.by {
		for i, at := range places {
			values[i] = t.keys[at][n]
		}
		var l labeller = codeLabels(func(second int64) string { return time.Unix(second, 0).UTC().Format(time.RFC3339) })
		if f != nil {
			l = f.group.labels
		}
		k, d, err := l.labels(ctx, r, tables, values)
		if err != nil {
			return nil, nil, err
		}
		for i := range places {
			keys[i][n], details[i][n] = k[i], d[i]
		}
	}
	return keys, details, nil
}
