package query

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
)

// test is a filter for rows of blocks.
type test struct {
	cols   []column
	number func(v []int64) int64 // of those columns: not 0 when the filter holds
}

// tables are the interned tables that columns refer to.
var tables = map[column]string{colProcess: "process", colContext: "context", colDecision: "decision", colDomain: "domain", colSNI: "domain",
	colLAddr: "address", colRAddr: "address", colCountry: "text"}

// tests are those of filters; ok is false when one of them asks for what blocks
// do not have.
func (r *reader) tests(ctx context.Context, fs Filters) (out []test, ok bool, err error) {
	for i := range fs {
		f := &fs[i]
		t := test{cols: f.field.reads}
		switch {
		case len(t.cols) == 1 && tables[t.cols[0]] != "":
			if t.number, err = r.passing(ctx, fs[i:i+1], t.cols[0]); err != nil {
				return nil, false, err
			}
		case f.field.test != nil:
			t.number = func(v []int64) int64 {
				if slices.ContainsFunc(f.items, func(it item) bool { return f.field.test(&it, v) }) != f.not {
					return 1
				}
				return 0
			}
		default:
			return nil, false, nil
		}
		out = append(out, t)
	}
	return out, true, nil
}

// passing finds the numbers in a column with which a filter holds: its
// condition is tried on each row of the table that the column refers to.
func (r *reader) passing(ctx context.Context, f Filters, c column) (func([]int64) int64, error) {
	var b builder
	name := columnNames[c]
	text := fmt.Sprintf("SELECT ifnull(c.%s, 0) FROM (SELECT id AS %s FROM %s UNION ALL SELECT NULL) c WHERE %s", name, name, tables[c], b.where(f))
	set := map[int64]bool{}
	err := r.raw(ctx, text, b.args, func(v []driver.Value) { set[integer(v[0])] = true })
	if err != nil {
		return nil, fmt.Errorf("look up what a filter selects: %w", err)
	}
	return func(v []int64) int64 {
		if set[v[0]] {
			return 1
		}
		return 0
	}, nil
}
