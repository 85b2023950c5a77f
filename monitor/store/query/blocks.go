package query

import (
	"context"
	"database/sql/driver"
	"math"
	"runtime"
	"slices"
	"time"

	"snitch/monitor/store/schema"
)

const (
	// blocksAtOnce is how many blocks are read in one transaction.
	blocksAtOnce = 16
	// stretchLeast is how long a stretch of time is at least that is read on its
	// own: for less it is not worth it.
	stretchLeast = 6 * time.Hour
	// rowsWeight is what a stretch of rows counts for, in rows of blocks: nobody
	// knows how many there are, and each costs about eight times as much.
	rowsWeight = 8 * 8192
)

// stored is a block of the database.
type stored struct {
	id, first, until int64
	ended            int64
	rows             int
}

// piece is a part of what is added up: blocks that follow each other, rows of
// table connection, or those that blocks do not count for.
type piece struct {
	*cover
	blocks []stored
	rows   *part
	apart  bool // the loose ones
}

// cover is how the connections of a question are found.
type cover struct {
	since    int64 // they were active then or later
	scan     part  // all that began in it
	long     *part // and those of long ones that began before; nil: there is no before
	asksLong bool  // some are read as rows
	blocks   []stored
	loose    []int64 // when those began that blocks do not count for, in order
	tests    []test
	want     []column
}

// stretches are the pieces that find the connections of p together, in as many
// runs as there are processors for.
func (db *DB) stretches(ctx context.Context, p *plan) ([][]piece, error) {
	q := &Query{Since: p.since, Until: p.until, Filters: p.filters}
	parts := q.parts()
	begin, end, _, err := db.Span(ctx)
	if err != nil {
		return nil, err
	}
	c := &cover{scan: parts[len(parts)-1], want: wanted(p.groups()), since: math.MinInt64}
	if !p.since.IsZero() {
		c.since = schema.FromTime(p.since)
		c.long = &parts[0]
	}
	if err := db.read(ctx, func(r *reader) error { return r.blocksFor(ctx, c) }); err != nil {
		return nil, err
	}
	pieces := c.pieces(schema.FromTime(begin), schema.FromTime(end)+1)
	if c.asksLong {
		if c.long.ended, err = db.fewEnded(ctx, q); err != nil {
			return nil, err
		}
		for i := range pieces {
			if r := pieces[i].rows; r != nil && r.long {
				r.ended = c.long.ended
			}
		}
	}
	if len(c.loose) > 0 {
		pieces = append(pieces, piece{cover: c, apart: true})
	}
	return share(pieces), nil
}

// blocksFor finds the blocks that c can use.
func (r *reader) blocksFor(ctx context.Context, c *cover) error {
	tests, ok, err := r.tests(ctx, c.scan.Filters)
	if err != nil || !ok {
		return err
	}
	c.tests = tests
	until := int64(math.MinInt64)
	err = r.raw(ctx, selectBlocks, []any{c.scan.to}, func(v []driver.Value) {
		s := stored{integer(v[0]), integer(v[1]), integer(v[2]), integer(v[3]), int(integer(v[4]))}
		if s.first >= until && s.until > s.first && s.rows >= 0 && s.rows <= schema.MaxBlockRows { // others are damage
			c.blocks, until = append(c.blocks, s), s.until
		}
	})
	if err != nil {
		return err
	}
	return r.raw(ctx, selectLoose, []any{c.scan.to}, func(v []driver.Value) {
		if opened := integer(v[0]); c.blockOf(opened) {
			c.loose = append(c.loose, opened)
		}
	})
}

const (
	selectBlocks = "SELECT id, first, until, ended, rows FROM block WHERE first < ? ORDER BY first"
	selectLoose  = "SELECT opened FROM block_loose WHERE opened < ? ORDER BY opened"
)

// blockOf reports whether there is a block of the moment.
func (c *cover) blockOf(opened int64) bool {
	i, found := slices.BinarySearchFunc(c.blocks, opened, func(s stored, at int64) int {
		switch {
		case s.until <= at:
			return -1
		case s.first > at:
			return 1
		}
		return 0
	})
	return found && i < len(c.blocks)
}

// pieces are blocks and, between them, rows, in the order of time. There are
// rows from begin until end only.
func (c *cover) pieces(begin, end int64) (out []piece) {
	at := begin
	var run []stored // blocks to read
	flush := func() {
		if len(run) > 0 {
			out = append(out, piece{cover: c, blocks: run})
		}
		run = nil
	}
	for _, s := range c.blocks {
		if at < s.first {
			flush()
			out = append(out, c.rowsOf(at, s.first)...)
		}
		at = max(at, s.until)
		if s.ended < c.since {
			continue
		}
		if run = append(run, s); len(run) == blocksAtOnce {
			flush()
		}
	}
	flush()
	return append(out, c.rowsOf(at, min(c.scan.to, end))...)
}

// rowsOf are the rows that began in a stretch of time. A long stretch is cut.
func (c *cover) rowsOf(from, to int64) (out []piece) {
	if c.long != nil && from < min(to, c.long.to) {
		p := *c.long
		p.from, p.to = from, min(to, c.long.to)
		out, c.asksLong = append(out, piece{cover: c, rows: &p}), true
	}
	from = max(from, c.scan.from)
	if from >= to {
		return out
	}
	n := uint64(processors())
	if uint64(to)-uint64(from) < n*uint64(stretchLeast) {
		n = 1
	}
	step := (uint64(to) - uint64(from)) / n
	for i := range n {
		p := c.scan
		p.from, p.to = from+int64(i*step), from+int64((i+1)*step)
		if i == n-1 {
			p.to = to
		}
		out = append(out, piece{cover: c, rows: &p})
	}
	return out
}

func processors() int { return min(maxConns, runtime.GOMAXPROCS(0)) }

// share cuts pieces into runs of about the same weight.
func share(pieces []piece) [][]piece {
	total := 0
	for i := range pieces {
		total += pieces[i].weight()
	}
	out := make([][]piece, processors())
	done := 0
	for i := range pieces {
		n := min(done*len(out)/max(total, 1), len(out)-1)
		out[n] = append(out[n], pieces[i])
		done += pieces[i].weight()
	}
	return out
}

func (p *piece) weight() (n int) {
	if len(p.blocks) == 0 {
		return rowsWeight
	}
	for _, s := range p.blocks {
		n += s.rows
	}
	return n
}

// add adds what p finds.
func (p *piece) add(ctx context.Context, db *DB, a *adder) error {
	switch {
	case p.apart:
		return p.addLoose(ctx, db, a)
	case p.rows != nil:
		return db.scan(ctx, *p.rows, p.want, func(t *interned, rows *block) { a.block(t, rows, nil) })
	}
	var gone []stored
	err := db.read(ctx, func(r *reader) error {
		return r.interned(ctx, func(t *interned) (err error) {
			gone, err = p.addBlocks(ctx, r, t, a)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, s := range gone {
		part := p.scan
		part.from, part.to = s.first, min(part.to, s.until)
		err := db.scan(ctx, part, p.want, func(t *interned, rows *block) { a.block(t, rows, p.firm(rows)) })
		if err != nil {
			return err
		}
	}
	return nil
}

// addBlocks adds the blocks of p. Those that were removed meanwhile, or are
// damaged, are returned: their rows tell the same.
func (p *piece) addBlocks(ctx context.Context, r *reader, t *interned, a *adder) (gone []stored, err error) {
	want := p.want
	for i := range p.tests {
		want = append(want, p.tests[i].cols...)
	}
	want = wanted(nil, want...)
	var rows block
	for _, s := range p.blocks {
		if s.rows == 0 {
			continue
		}
		whole, err := r.block(ctx, &s, want, &rows)
		if err != nil {
			return nil, err
		}
		if !whole {
			gone = append(gone, s)
			continue
		}
		a.block(t, &rows, p.keep(&s, &rows))
	}
	return gone, nil
}

// block reads the wanted columns of a block; whole is false when they are not
// all there.
func (r *reader) block(ctx context.Context, s *stored, want []column, rows *block) (whole bool, err error) {
	var b builder
	text := "SELECT id, data FROM block_column WHERE id IN ("
	for i, c := range want {
		if i > 0 {
			text += ", "
		}
		text += b.arg(schema.BlockColumnID(s.id, int(c)))
	}
	rows.n = s.rows
	found := 0
	err = r.raw(ctx, text+")", b.args, func(v []driver.Value) {
		c := integer(v[0]) - schema.BlockColumnID(s.id, 0)
		data, ok := v[1].([]byte)
		if ok && c >= 0 && c < int64(columnCount) && schema.UnpackColumn(&rows.columns[c], data, s.rows) == nil {
			found++
		}
	})
	return found == len(want), err
}

// keep tells which rows of a block were asked for; nil: all.
func (p *piece) keep(s *stored, rows *block) []bool {
	var keep []bool
	drop := func(passes func(i int) bool) {
		if keep == nil {
			keep = slices.Repeat([]bool{true}, rows.n)
		}
		for i := range keep {
			keep[i] = keep[i] && passes(i)
		}
	}
	if s.first < max(p.scan.from, p.since) || s.until > p.scan.to {
		drop(func(i int) bool {
			opened := rows.at(colOpened, i)
			return opened < p.scan.to && (opened >= p.since || until(opened, rows.at(colLast, i)) >= p.since)
		})
	}
	if i, _ := slices.BinarySearch(p.loose, s.first); i < len(p.loose) && p.loose[i] < s.until {
		firm := p.firm(rows)
		drop(func(i int) bool { return firm[i] })
	}
	var v values
	for n := range p.tests {
		v.fill(rows, p.tests[n].cols, p.tests[n].number)
		drop(func(i int) bool { return v.at(i) != 0 })
	}
	return keep
}

// until is the time at which a connection was active last.
func until(opened, last int64) int64 {
	if last > 0 && opened > math.MaxInt64-last {
		return math.MaxInt64
	}
	return opened + last
}

// firm tells which rows are not loose.
func (p *piece) firm(rows *block) []bool {
	out := make([]bool, rows.n)
	for i := range out {
		_, loose := slices.BinarySearch(p.loose, rows.at(colOpened, i))
		out[i] = !loose
	}
	return out
}

// looseAtOnce is how many loose moments one statement looks up.
const looseAtOnce = 512

// addLoose adds the rows that blocks do not count for.
func (p *piece) addLoose(ctx context.Context, db *DB, a *adder) error {
	for moments := range slices.Chunk(p.loose, looseAtOnce) {
		part := p.scan
		part.moments, part.from = moments, math.MinInt64
		err := db.scan(ctx, part, p.want, func(t *interned, rows *block) { a.block(t, rows, nil) })
		if err != nil {
			return err
		}
	}
	return nil
}
