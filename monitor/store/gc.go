package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"snitch/monitor/store/schema"
)

// scanRows is how many rows one step of the collection reads.
const scanRows = 5000

// phase is where a collection stands.
type phase uint8

const (
	phaseIdle   phase = iota
	phaseMark         // read what the big tables refer to
	phaseExpand       // add what marked processes, contexts and decisions refer to
	phaseSweep        // remove what is not marked
)

// collector removes interned rows to which nothing refers any more. It marks
// and sweeps in small steps between the commits: rows interned or used again
// meanwhile are marked as they are handed out, newer ones are left alone.
// It keeps the newest row of each table, so that a number is never used twice
// and readers may remember what a number means.
type collector struct {
	phase   phase
	source  int     // index into markSources or expandSources
	table   table   // that is swept
	cursor  []int64 // key of the last row read
	limit   [tables]int64
	marks   [tables]bitmap
	removed uint64
}

// bitmap is a set of small numbers.
type bitmap []uint64

func (b *bitmap) set(n int64) {
	if n < 0 {
		return
	}
	if w := int(n / 64); w >= len(*b) {
		*b = append(*b, make(bitmap, w+1-len(*b))...)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitmap) has(n int64) bool {
	return n >= 0 && int(n/64) < len(b) && b[n/64]&(1<<(n%64)) != 0
}

// source is a scan in the order of a key: its first columns are the key, the
// others refer to the tables named. 0 and NULL refer to nothing.
type source struct {
	sql  string // ends in LIMIT ?; its other parameters are the key
	from []int64
	to   []table
}

// markSources read all rows that hold on to interned ones.
func markSources() []source {
	const lowest = -1 << 63
	out := []source{
		{`SELECT opened, run, id, process, context, laddr, raddr, domain, sni, country, decision, novelty, names
			FROM connection WHERE (opened, run, id) > (?, ?, ?) ORDER BY opened, run, id LIMIT ?`, []int64{lowest, 0, 0},
			[]table{tableProcess, tableContext, tableAddress, tableAddress, tableDomain, tableDomain, tableText, tableDecision, tableList, tableList}},
		{"SELECT time, run, id, process, context FROM exec_log WHERE (time, run, id) > (?, ?, ?) ORDER BY time, run, id LIMIT ?",
			[]int64{lowest, 0, 0}, []table{tableProcess, tableContext}},
		{"SELECT time, run, id, process FROM loss WHERE (time, run, id) > (?, ?, ?) ORDER BY time, run, id LIMIT ?",
			[]int64{lowest, 0, 0}, []table{tableProcess}},
	}
	for _, d := range schema.Dims() {
		if i := slices.Index(tableNames[:], d.KeyTable()); i >= 0 {
			out = append(out, source{`SELECT dim, res, bucket, key, key FROM rollup
				WHERE dim = ? AND (res, bucket, key) > (?, ?, ?) ORDER BY res, bucket, key LIMIT ?`,
				[]int64{int64(d), 0, lowest, 0}, []table{table(i)}})
		}
	}
	return out
}

// expandSources read what interned rows refer to, newest first: a process is
// always newer than its parent and a decision than the one before it, so that
// one pass reaches all.
func expandSources() []source {
	const highest = 1<<63 - 1
	return []source{
		{"SELECT id, parent, executable, name, cmdline, script, context FROM process WHERE id < ? ORDER BY id DESC LIMIT ?", []int64{highest},
			[]table{tableProcess, tableExecutable, tableText, tableText, tableScript, tableContext}},
		{"SELECT id, cgroup, user, host FROM context WHERE id < ? ORDER BY id DESC LIMIT ?", []int64{highest}, []table{tableCgroup, tableText, tableText}},
		{"SELECT id, rule, matches, revision, reason, position, error, previous FROM decision WHERE id < ? ORDER BY id DESC LIMIT ?", []int64{highest},
			[]table{tableText, tableList, tableText, tableText, tableText, tableText, tableDecision}},
	}
}

// expandOf are the tables of expandSources.
var expandOf = [...]table{tableProcess, tableContext, tableDecision}

// collect does one step of a collection; more is false when none is due.
func (w *writer) collect() (more bool, err error) {
	g := &w.gc
	switch g.phase {
	case phaseIdle:
		if w.removed == 0 || w.removed < w.connRows/orphanShare {
			return false, nil
		}
		return true, w.startCollection()
	case phaseMark:
		sources := markSources()
		done, err := w.scan(sources[g.source], func([]driver.Value) bool { return true })
		g.next(done, len(sources), phaseExpand)
		return true, err
	case phaseExpand:
		sources, of := expandSources(), expandOf[g.source]
		done, err := w.scan(sources[g.source], func(row []driver.Value) bool {
			id, _ := row[0].(int64)
			return g.marks[of].has(id) || id >= g.limit[of]
		})
		g.next(done, len(sources), phaseSweep)
		return true, err
	default:
		done, err := w.sweep(g.table)
		if err == nil && done {
			g.cursor = nil
			g.table++
		}
		if g.table == tables && err == nil {
			*g = collector{removed: g.removed}
			w.intern.seen = nil
			err = w.removeOldSets()
		}
		return true, err
	}
}

// next moves to the next source or phase once one is done.
func (g *collector) next(done bool, sources int, then phase) {
	if !done {
		return
	}
	g.cursor = nil
	g.source++
	if g.source == sources {
		g.source, g.phase = 0, then
	}
}

func (w *writer) startCollection() error {
	g := collector{phase: phaseMark, removed: w.gc.removed}
	for t := range tables {
		newest, _, err := w.c.number("SELECT max(id) FROM " + tableNames[t])
		if err != nil {
			return fmt.Errorf("begin collection of orphans: %w", err)
		}
		g.limit[t] = newest // itself kept; 0 for an empty table
	}
	w.gc, w.removed = g, 0
	w.intern.seen = func(t table, id int64) { w.gc.marks[t].set(id) }
	return nil
}

// scan reads the next rows of a source and marks what they refer to, if
// wanted says so.
func (w *writer) scan(s source, wanted func([]driver.Value) bool) (done bool, err error) {
	g := &w.gc
	if g.cursor == nil {
		g.cursor = s.from
	}
	args := make([]any, 0, len(g.cursor)+1)
	for _, n := range g.cursor {
		args = append(args, n)
	}
	var last []int64
	n, keys := 0, len(s.from)
	err = w.c.rows(context.Background(), s.sql, func(row []driver.Value) error {
		n++
		last = last[:0]
		for _, v := range row[:keys] {
			id, _ := v.(int64)
			last = append(last, id)
		}
		if !wanted(row) {
			return nil
		}
		for i, t := range s.to {
			if id, ok := row[keys+i].(int64); ok && id != 0 {
				g.marks[t].set(id)
			}
		}
		return nil
	}, append(args, int64(scanRows))...)
	if err != nil {
		return false, fmt.Errorf("look for orphans: %w", err)
	}
	g.cursor = last
	return n < scanRows, nil
}

// sweep removes unmarked rows among the next ones of a table.
func (w *writer) sweep(t table) (done bool, err error) {
	g := &w.gc
	if g.cursor == nil {
		g.cursor = []int64{0}
	}
	var orphans []int64
	n := 0
	err = w.c.rows(context.Background(), "SELECT id FROM "+tableNames[t]+" WHERE id > ? AND id < ? ORDER BY id LIMIT ?", func(row []driver.Value) error {
		id, _ := row[0].(int64)
		n++
		g.cursor[0] = id
		if !g.marks[t].has(id) {
			orphans = append(orphans, id)
		}
		return nil
	}, g.cursor[0], g.limit[t], int64(scanRows))
	if err != nil {
		return false, fmt.Errorf("look for orphans: %w", err)
	}
	if len(orphans) > 0 {
		if err := w.removeOrphans(t, orphans); err != nil {
			return false, err
		}
	}
	return n < scanRows, nil
}

func (w *writer) removeOrphans(t table, ids []int64) error {
	err := w.c.transaction(func() error {
		for _, id := range ids {
			if _, err := w.c.exec("DELETE FROM "+tableNames[t]+" WHERE id = ?", id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove orphans of %s: %w", tableNames[t], err)
	}
	w.gc.removed += uint64(len(ids))
	w.intern.clear() // it may remember some of them
	return nil
}
