package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"strings"
	"time"

	"snitch/monitor/store/schema"
)

const (
	// blockDelay is how old rows are that go into a block: most are closed by
	// then, and do not change any more.
	blockDelay = time.Hour
	// blockEvery is how often it is looked whether there are enough of them.
	blockEvery = time.Minute
	// looseMost is how many times may be loose before all blocks are made anew:
	// each costs readers a look-up. Most of those rows are closed by then.
	looseMost  = 1 << 14
	looseShare = 128 // or one in so many rows
)

// blocks is what is remembered of the blocks in the file.
type blocks struct {
	until int64     // all rows opened before are in blocks, were purged, or are loose
	next  time.Time // when to look again
}

// load reads up to when there are blocks.
func (b *blocks) load(c *conn) error {
	until, ok, err := c.number("SELECT max(until) FROM block")
	if err != nil {
		return fmt.Errorf("read state of blocks: %w", err)
	}
	if b.until = until; !ok {
		b.until = math.MinInt64
	}
	return nil
}

var selectBlockRows = "SELECT " + blockColumnList() + ", run, closed FROM connection WHERE opened >= ? AND opened < ? ORDER BY opened, run, id LIMIT ?"

func blockColumnList() string {
	columns := schema.BlockColumns()
	return strings.Join(columns[:], ", ")
}

// blockRows are rows on their way into a block; opened comes first.
type blockRows struct {
	columns [schema.BlockColumnCount][]int64
	open    []bool // a snapshot may still change it
}

func (b *blockRows) add(row []driver.Value, run int64) {
	number := func(i int) int64 { n, _ := row[i].(int64); return n }
	for i := range b.columns {
		b.columns[i] = append(b.columns[i], number(i))
	}
	b.open = append(b.open, number(len(b.columns)) == run && number(len(b.columns)+1) == 0)
}

// ended is the latest time at which one of the first n rows was active, but
// for those that may still change.
func (b *blockRows) ended(n int) int64 {
	out := int64(math.MinInt64)
	for i, opened := range b.columns[0][:n] {
		last := b.columns[1][i]
		switch {
		case b.open[i]:
		case last > 0 && opened > math.MaxInt64-last:
			out = math.MaxInt64
		default:
			out = max(out, opened+max(0, last))
		}
	}
	return out
}

// makeBlock keeps the next rows column by column when there are enough that
// are old enough. The last row is left to the next block, with all that were
// opened at the same moment: blocks end between two moments.
func (w *writer) makeBlock(rows int, now time.Time) (made bool, err error) {
	if wait := w.blocks.next.Sub(now); wait > 0 && wait <= blockEvery {
		return false, nil
	}
	limit := schema.FromTime(now.Add(-blockDelay))
	_, due, err := w.c.number("SELECT opened FROM connection WHERE opened >= ? AND opened < ? ORDER BY opened LIMIT 1 OFFSET ?", w.blocks.until, limit, int64(rows))
	if err != nil {
		return false, fmt.Errorf("look for rows of a block: %w", err)
	}
	if !due {
		w.blocks.next = now.Add(blockEvery)
		return false, w.renewBlocks()
	}
	var b blockRows
	err = w.c.rows(context.Background(), selectBlockRows, func(row []driver.Value) error { b.add(row, w.run); return nil }, w.blocks.until, limit, int64(rows)+1)
	if err != nil {
		return false, fmt.Errorf("read rows of a block: %w", err)
	}
	until := int64(0)
	err = w.c.transaction(func() error { until, err = w.putBlock(&b); return err })
	if err != nil {
		return false, fmt.Errorf("write block: %w", err)
	}
	w.blocks.until = until
	return true, nil
}

// putBlock writes one block and returns where it ends.
func (w *writer) putBlock(b *blockRows) (until int64, err error) {
	opened := b.columns[0]
	until, n := opened[len(opened)-1], len(opened)
	for n > 0 && opened[n-1] == until {
		n--
	}
	if n == 0 { // one moment with too many rows
		until++
		if err := w.loosen(opened[0]); err != nil {
			return 0, err
		}
	}
	first := w.blocks.until // no gap between two blocks
	if first == math.MinInt64 {
		first = opened[0]
	}
	res, err := w.c.exec("INSERT INTO block (first, until, ended, rows) VALUES (?, ?, ?, ?)", first, until, b.ended(n), int64(n))
	if err != nil {
		return 0, err
	}
	id, err := res.LastInsertId()
	if err != nil {
		return 0, err
	}
	for i := range n {
		if b.open[i] {
			if err := w.loosen(opened[i]); err != nil {
				return 0, err
			}
		}
	}
	for i := range b.columns {
		if n == 0 {
			break
		}
		if _, err := w.c.exec("INSERT INTO block_column (id, data) VALUES (?, ?)", schema.BlockColumnID(id, i), schema.PackColumn(b.columns[i][:n])); err != nil {
			return 0, err
		}
	}
	return until, nil
}

// loosen says that rows opened at a moment are not what their block says.
func (w *writer) loosen(opened int64) error {
	_, err := w.c.exec("INSERT OR IGNORE INTO block_loose (opened) VALUES (?)", opened)
	return err
}

// dropBlocks removes the blocks that have rows opened up to a moment: they are
// being purged.
func (w *writer) dropBlocks(upTo int64) error {
	id, ok, err := w.c.number("SELECT max(id) FROM block WHERE first <= ?", upTo)
	if err != nil || !ok {
		return err
	}
	for _, d := range []struct {
		sql string
		arg int64
	}{
		{"DELETE FROM block_column WHERE id < ?", schema.BlockColumnID(id+1, 0)},
		{"DELETE FROM block WHERE id <= ?", id},
		{"DELETE FROM block_loose WHERE opened <= ?", upTo},
	} {
		if _, err := w.c.exec(d.sql, d.arg); err != nil {
			return fmt.Errorf("remove blocks: %w", err)
		}
	}
	return nil
}

// renewBlocks begins again when too much is loose.
func (w *writer) renewBlocks() error {
	loose, _, err := w.c.number("SELECT count(*) FROM block_loose")
	if err != nil || loose <= max(looseMost, w.connRows/looseShare) {
		return err
	}
	err = w.c.transaction(func() error {
		return w.c.script(context.Background(), "DELETE FROM block_column; DELETE FROM block; DELETE FROM block_loose")
	})
	if err != nil {
		return fmt.Errorf("begin blocks again: %w", err)
	}
	w.blocks.until = math.MinInt64
	return nil
}
