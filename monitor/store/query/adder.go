package query

// adder adds rows to a tally.
type adder struct {
	plan *plan
	out  *tally
	keys [MaxGroupFields]values
	// What became of the rows: by their decision.
	denied, would values
}

// values is a value of each row of a block: of its own, or of the entry in the
// dictionary of the column that it comes from.
type values struct {
	of     []int64
	places []uint16
}

func (v *values) at(i int) int64 {
	if v.places != nil {
		return v.of[v.places[i]]
	}
	return v.of[i]
}

// fill sets v to what f makes of the columns of each row. What depends on one
// column with a dictionary is made once for each of its entries.
func (v *values) fill(rows *block, cols []column, f func([]int64) int64) {
	v.of, v.places = v.of[:0], nil
	var room [columnCount]int64
	args := room[:len(cols)]
	if c := &rows.columns[cols[0]]; len(cols) == 1 && c.Dictionary != nil {
		v.places = c.Places
		for _, args[0] = range c.Dictionary {
			v.of = append(v.of, f(args))
		}
		return
	}
	for i := range rows.n {
		for n, c := range cols {
			args[n] = rows.at(c, i)
		}
		v.of = append(v.of, f(args))
	}
}

// block adds the rows for which keep is set, all when it is nil.
func (a *adder) block(t *interned, rows *block, keep []bool) {
	at := 0 // place of time in the key
	for n, f := range a.plan.by {
		if f == nil {
			at = n
			continue
		}
		a.keys[n].fill(rows, f.group.cols, func(v []int64) int64 { return f.group.value(t, v) })
	}
	a.denied.fill(rows, []column{colDecision}, func(v []int64) int64 { denied, _ := t.denied(v[0]); return int64(denied) })
	a.would.fill(rows, []column{colDecision}, func(v []int64) int64 { _, would := t.denied(v[0]); return int64(would) })
	timed := a.plan.timed()
	for i := range rows.n {
		if keep != nil && !keep[i] {
			continue
		}
		var k groupKey
		for n, f := range a.plan.by {
			if f != nil {
				k[n] = a.keys[n].at(i)
			}
		}
		opened := rows.at(colOpened, i)
		s := sums{connections: 1, sent: uint64(rows.at(colSent, i)), received: uint64(rows.at(colReceived, i)),
			denied: uint64(a.denied.at(i)), would: uint64(a.would.at(i)), first: opened, last: opened + max(0, rows.at(colLast, i))}
		if !timed {
			a.out.add(k, s)
			continue
		}
		a.plan.line.spread(opened, s.last, s, func(bucket int64, part sums) {
			k[at] = bucket
			a.out.add(k, part)
		})
	}
}
