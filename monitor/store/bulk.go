package store

import "strings"

// bulkRows is how many rows go into one statement: running a statement costs
// as much as a third of a row.
const bulkRows = 16

// bulk gathers rows for a multi-row INSERT. Whoever depends on the rows being
// there calls flush first.
type bulk struct {
	c         *conn
	many, one string // the statements for bulkRows rows and for one
	columns   int
	args      []any
}

// newBulk makes a bulk for "head VALUES (…),(…) tail".
func newBulk(c *conn, head string, columns int, tail string) *bulk {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	return &bulk{c: c, columns: columns, args: make([]any, 0, bulkRows*columns),
		many: head + " VALUES " + strings.TrimSuffix(strings.Repeat(row+",", bulkRows), ",") + " " + tail,
		one:  head + " VALUES " + row + " " + tail}
}

// add takes in one row; its values are as for conn.exec.
func (b *bulk) add(row ...any) error {
	b.args = append(b.args, row...)
	if len(b.args) < bulkRows*b.columns {
		return nil
	}
	_, err := b.c.exec(b.many, b.args...)
	b.reset()
	return err
}

// flush writes the rows that wait.
func (b *bulk) flush() error {
	defer b.reset()
	for i := 0; i < len(b.args); i += b.columns {
		if _, err := b.c.exec(b.one, b.args[i:i+b.columns]...); err != nil {
			return err
		}
	}
	return nil
}

// reset forgets the rows: they are written, or their transaction failed.
func (b *bulk) reset() {
	clear(b.args)
	b.args = b.args[:0]
}
