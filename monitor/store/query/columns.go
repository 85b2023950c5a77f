package query

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"math"
	"runtime"
	"time"

	"snitch/monitor/store/schema"
)

// column is a column of table connection that sums are made from.
type column uint8

const (
	colOpened column = iota
	colLast
	colSent
	colReceived
	colDecision
	colProcess
	colPID
	colContext
	colDirection
	colFamily
	colProto
	colLAddr
	colLPort
	colRAddr
	colRPort
	colDomain
	colSource
	colSNI
	colCountry
	colResult
	colExisting
	columnCount
)

// columnNames are the columns' names in table connection.
var columnNames = [columnCount]string{"opened", "last", "sent", "received", "decision", "process", "pid", "context", "direction", "family", "proto",
	"laddr", "lport", "raddr", "rport", "domain", "domain_source", "sni", "country", "result", "existing"}

// baseColumns are what every sum needs.
var baseColumns = []column{colOpened, colLast, colSent, colReceived, colDecision}

// block holds rows of table connection column by column; those that were not
// asked for are empty. NULL is 0.
type block struct {
	n      int
	values [columnCount][]int64
}

func (b *block) reset() {
	b.n = 0
	for i := range b.values {
		b.values[i] = b.values[i][:0]
	}
}

// wanted are the columns of a set, those of every sum first.
func wanted(groups []*grouping) []column {
	out := append([]column(nil), baseColumns...)
	seen := map[column]bool{}
	for _, c := range out {
		seen[c] = true
	}
	for _, g := range groups {
		for _, c := range g.cols {
			if !seen[c] {
				seen[c] = true
				out = append(out, c)
			}
		}
	}
	return out
}

// stretchLeast is how long a stretch of time is at least that is read on its
// own: for less it is not worth it.
const stretchLeast = 6 * time.Hour

// stretches are the scans that find the connections of p together, as many as
// there are processors for.
func (db *DB) stretches(ctx context.Context, p *plan) ([][]part, error) {
	q := &Query{Since: p.since, Until: p.until, Filters: p.filters}
	parts, err := db.parts(ctx, q)
	if err != nil {
		return nil, err
	}
	first, last, _, err := db.Span(ctx)
	if err != nil {
		return nil, err
	}
	scan := parts[len(parts)-1] // but for the long ones, which are few
	from, to := max(scan.from, schema.FromTime(first)), min(scan.to, schema.FromTime(last)+1)
	n := int64(min(maxConns, runtime.GOMAXPROCS(0)))
	if from < 0 || to <= from || to-from < n*int64(stretchLeast) {
		return [][]part{parts}, nil
	}
	out := make([][]part, n)
	for i := range n {
		piece := scan
		if i > 0 {
			piece.from = from + (to-from)/n*i
		}
		if i < n-1 {
			piece.to = from + (to-from)/n*(i+1)
		}
		out[i] = []part{piece}
	}
	out[0] = append(parts[:len(parts)-1:len(parts)-1], out[0]...)
	return out, nil
}

// scan calls f with the wanted columns of the rows of parts, some thousand at a
// time, and with what interned numbers mean then. Like Connections it does so
// in transactions that are not long.
func (db *DB) scan(ctx context.Context, parts []part, want []column, f func(*interned, *block)) error {
	text := "c.run, c.id"
	for _, c := range want {
		text += ", c." + columnNames[c]
	}
	var rows block
	for _, p := range parts {
		cursor := key{p.from, math.MinInt64, math.MinInt64}
		for more := true; more; {
			err := db.read(ctx, func(r *reader) error {
				rows.reset()
				if err := r.scanChunk(ctx, &p, text, want, &cursor, &rows); err != nil {
					return err
				}
				more = rows.n == historyRows
				return r.interned(ctx, func(t *interned) error { f(t, &rows); return nil })
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// scanChunk appends the next rows behind cursor, which it moves.
func (r *reader) scanChunk(ctx context.Context, p *part, text string, want []column, cursor *key, rows *block) error {
	var b builder
	statement := p.statementOf(text, &b, *cursor, historyRows)
	return r.raw(ctx, statement, b.args, func(v []driver.Value) {
		for i, c := range want {
			rows.values[c] = append(rows.values[c], integer(v[i+2]))
		}
		rows.n++
		*cursor = key{integer(v[2]), integer(v[0]), integer(v[1])} // baseColumns begin with opened
	})
}

// raw calls f with each row of a query, with the driver itself: database/sql
// would cost as much again as SQLite does. f may not ask for anything: the
// driver is lent.
func (r *reader) raw(ctx context.Context, text string, args []any, f func([]driver.Value)) error {
	return r.conn.Raw(func(conn any) (err error) {
		rows, err := conn.(driver.QueryerContext).QueryContext(ctx, text, arguments(args))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		values := make([]driver.Value, len(rows.Columns()))
		for {
			switch err := rows.Next(values); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			}
			f(values)
		}
	})
}
