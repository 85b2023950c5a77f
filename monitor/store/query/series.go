package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"snitch/monitor/store/schema"
)

// SeriesQuery asks for traffic over time.
type SeriesQuery struct {
	Filters Filters
	By      string    // a field with Field.Group; "": one line for all
	Since   time.Time // zero: since the record begins
	Until   time.Time // zero: now
	Top     int       // lines of their own, those that moved most; 0: DefaultSeriesTop, at most MaxSeriesTop
	Points  int       // at most so many; 0: MaxSeriesPoints, which is the bound too
}

// Bounds of a SeriesQuery.
const (
	DefaultSeriesTop = 8
	MaxSeriesTop     = 32
	MaxSeriesPoints  = 240
)

// Series is traffic over time. By BasisConnections the bytes of a connection
// are spread evenly over its life: when they moved is not recorded one by one.
type Series struct {
	By    string       `json:"by,omitempty"`
	Basis Basis        `json:"basis"`
	Width Seconds      `json:"width"` // of a bucket
	Times []time.Time  `json:"times"` // starts of the buckets, without a gap
	Lines []SeriesLine `json:"lines"` // those that moved most first; what is not among the top last
}

// SeriesLine is one line (or layer) of a chart. Its slices are as long as
// Series.Times.
type SeriesLine struct {
	Key         string   `json:"key"`
	Detail      string   `json:"detail,omitempty"`
	Other       bool     `json:"other,omitempty"` // all that have no line of their own; Key is ""
	Sent        []uint64 `json:"sent"`            // bytes in each bucket
	Received    []uint64 `json:"received"`
	Connections []uint64 `json:"connections"` // that began in each bucket
}

// Series adds up traffic over time.
func (db *DB) Series(ctx context.Context, q SeriesQuery) (Series, error) {
	out, err := db.series(ctx, &q)
	if err != nil {
		return Series{}, fmt.Errorf("add up traffic over time: %w", err)
	}
	return out, nil
}

func (db *DB) series(ctx context.Context, q *SeriesQuery) (Series, error) {
	if q.Top < 0 || q.Top > MaxSeriesTop || q.Points < 0 || q.Points > MaxSeriesPoints {
		return Series{}, fmt.Errorf("%d lines of %d points are out of bounds", q.Top, q.Points)
	}
	by, top, points := []string{ByTime}, q.Top, q.Points
	if q.By != "" {
		by = append(by, q.By)
	}
	if top == 0 {
		top = DefaultSeriesTop
	}
	if points == 0 {
		points = MaxSeriesPoints
	}
	p, err := newPlan(by, q.Filters, q.Since, q.Until, points)
	if err != nil {
		return Series{}, err
	}
	var t *tally
	if q.By != "" && p.dim != schema.DimInvalid && len(q.Filters) == 0 {
		t, err = db.tallyTop(ctx, p, top)
	} else {
		t, err = db.tally(ctx, p)
	}
	if err != nil {
		return Series{}, err
	}
	c := newChart(&p.line)
	c.draw(t, top)
	out := Series{By: q.By, Basis: p.basis(), Width: Seconds(time.Duration(p.line.width) * time.Second), Times: c.times, Lines: c.lines}
	if q.By == "" {
		return out, nil
	}
	err = db.read(ctx, func(r *reader) error {
		return r.interned(ctx, func(tables *interned) error {
			keys, details, err := p.by[1].group.labels.labels(ctx, r, tables, c.values)
			for i := range keys {
				out.Lines[i].Key, out.Lines[i].Detail = keys[i], details[i]
			}
			return err
		})
	})
	return out, err
}

// chart sorts the groups of a tally, whose keys are a time and a value, into
// lines.
type chart struct {
	line   *timeline
	first  int64 // start of the first bucket
	times  []time.Time
	lines  []SeriesLine
	values []int64 // of the lines, but for that of all others
}

func newChart(line *timeline) *chart {
	c := &chart{line: line, first: below(line.from, line.width), times: []time.Time{}, lines: []SeriesLine{}}
	for i := range line.buckets() {
		c.times = append(c.times, time.Unix(c.first+int64(i)*line.width, 0).UTC())
	}
	return c
}

// draw makes lines of the top values and one of all others.
func (c *chart) draw(t *tally, top int) {
	totals := map[int64]uint64{}
	for i, k := range t.keys {
		totals[k[1]] = plus(totals[k[1]], t.sums[i].bytes())
	}
	_, others := totals[notTop]
	delete(totals, notTop)
	for v := range totals {
		c.values = append(c.values, v)
	}
	slices.SortFunc(c.values, func(a, b int64) int { return cmp.Or(cmp.Compare(totals[b], totals[a]), cmp.Compare(a, b)) })
	others = others || len(c.values) > top
	c.values = c.values[:min(len(c.values), top)]
	at := map[int64]int{}
	for i, v := range c.values {
		at[v] = i
		c.newLine(false)
	}
	if others {
		c.newLine(true)
	}
	for i, k := range t.keys {
		n, ok := at[k[1]]
		if !ok {
			n = len(c.values)
		}
		l, s, b := &c.lines[n], &t.sums[i], int((k[0]-c.first)/c.line.width)
		l.Sent[b], l.Received[b] = plus(l.Sent[b], s.sent), plus(l.Received[b], s.received)
		l.Connections[b] += count(s.connections)
	}
}

func (c *chart) newLine(other bool) {
	n := len(c.times)
	c.lines = append(c.lines, SeriesLine{Other: other, Sent: make([]uint64, n), Received: make([]uint64, n), Connections: make([]uint64, n)})
}
