package query

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"math"

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

// columnNames are the columns' names in table connection; blocks have them in
// this order.
var columnNames = schema.BlockColumns()

// baseColumns are what every sum needs.
var baseColumns = []column{colOpened, colLast, colSent, colReceived, colDecision}

// block holds rows of table connection column by column; columns that were not
// asked for are empty. NULL is 0.
type block struct {
	n       int
	columns [columnCount]schema.BlockColumn
}

func (b *block) reset() {
	b.n = 0
	for i := range b.columns {
		b.columns[i] = schema.BlockColumn{Values: b.columns[i].Values[:0]}
	}
}

func (b *block) at(c column, i int) int64 {
	if p := &b.columns[c]; p.Dictionary != nil {
		return p.Dictionary[p.Places[i]]
	}
	return b.columns[c].Values[i]
}

// wanted are the columns of a set, those of every sum first.
func wanted(groups []*grouping, more ...column) []column {
	out := append([]column(nil), baseColumns...)
	seen := map[column]bool{}
	for _, c := range out {
		seen[c] = true
	}
	for _, g := range groups {
		more = append(more, g.cols...)
	}
	for _, c := range more {
		if !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	return out
}

// scan calls f with the wanted columns of the rows of p, some thousand at a
// time, and with what interned numbers mean then. Like Connections it does so
// in transactions that are not long.
func (db *DB) scan(ctx context.Context, p part, want []column, f func(*interned, *block)) error {
	text := "c.run, c.id"
	for _, c := range want {
		text += ", c." + columnNames[c]
	}
	var rows block
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
	return nil
}

// scanChunk appends the next rows behind cursor, which it moves.
func (r *reader) scanChunk(ctx context.Context, p *part, text string, want []column, cursor *key, rows *block) error {
	var b builder
	statement := p.statementOf(text, &b, *cursor, historyRows)
	return r.raw(ctx, statement, b.args, func(v []driver.Value) {
		for i, c := range want {
			rows.columns[c].Values = append(rows.columns[c].Values, integer(v[i+2]))
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
