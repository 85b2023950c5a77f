package query

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// chunkRows is how many rows are read in one transaction before they are
// handed out.
const chunkRows = 256

// Order is the order of time.
type Order uint8

// Orders.
const (
	OldestFirst Order = 0
	NewestFirst Order = 1
)

// Query selects connections. The zero value selects all, oldest first.
type Query struct {
	Since   time.Time // that were active at this time or later; zero: no bound
	Until   time.Time // and began before this; zero: no bound
	Filters Filters
	Limit   int // at most so many; 0: all
	Order   Order
}

// Connections calls f with each record that q selects, in the order of the
// time when they began. It holds chunkRows of them in memory, and no lock or
// transaction while f runs. An error of f ends it and is returned.
func (db *DB) Connections(ctx context.Context, q Query, f func(event.Record) error) error {
	left := q.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	parts, err := db.parts(ctx, &q)
	if err != nil {
		return fmt.Errorf("read connections: %w", err)
	}
	for _, part := range parts {
		n, err := db.part(ctx, part, left, f)
		if err != nil || n == left {
			return err
		}
		left -= n
	}
	return nil
}

// part is one scan in the order of beginning.
type part struct {
	*Query
	from, to int64   // opened in [from, to)
	long     bool    // only those of the indexes of long connections
	ended    bool    // those are found by their end, not by their beginning
	moments  []int64 // only those opened then; nil: all
}

// fewEnded is how many long connections are found by their end: each chunk
// sorts them anew.
const fewEnded = 4096

// parts are those of q, and how each is found best.
func (db *DB) parts(ctx context.Context, q *Query) ([]part, error) {
	parts := q.parts()
	for i := range parts {
		if !parts[i].long {
			continue
		}
		var err error
		if parts[i].ended, err = db.fewEnded(ctx, q); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// fewEnded reports whether so few long connections ended since q begins that
// they are best found by that.
func (db *DB) fewEnded(ctx context.Context, q *Query) (few bool, err error) {
	err = db.read(ctx, func(r *reader) error {
		var n int
		err := r.tx.QueryRowContext(ctx, countEnded, schema.FromTime(q.Since), fewEnded+1).Scan(&n)
		few = n <= fewEnded
		return err
	})
	return few, err
}

var countEnded = fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM connection INDEXED BY connection_ended WHERE opened + last >= ? AND last > %d LIMIT ?)", int64(schema.LongConnection))

// parts are the scans that find what q selects. Who was active since a time
// may have begun long before: those few have an index of their own.
func (q *Query) parts() []part {
	scan := part{Query: q, from: math.MinInt64, to: math.MaxInt64}
	if !q.Until.IsZero() {
		scan.to = schema.FromTime(q.Until)
	}
	if q.Since.IsZero() {
		return []part{scan}
	}
	long := part{Query: q, from: math.MinInt64, long: true}
	scan.from = max(schema.FromTime(q.Since), math.MinInt64+schema.LongConnection) - schema.LongConnection
	long.to = min(scan.from, scan.to)
	if q.Order == NewestFirst {
		return []part{scan, long}
	}
	return []part{long, scan}
}

// part hands out at most limit records and returns how many there were.
func (db *DB) part(ctx context.Context, p part, limit int, f func(event.Record) error) (int, error) {
	cursor := key{p.from, math.MinInt64, math.MinInt64}
	if p.Order == NewestFirst {
		cursor = key{p.to, math.MinInt64, math.MinInt64}
	}
	for done := 0; ; {
		var chunk []event.Record
		n := min(limit-done, chunkRows)
		err := db.read(ctx, func(r *reader) (err error) {
			chunk, cursor, err = r.chunk(ctx, &p, cursor, n)
			return err
		})
		if err != nil {
			return done, fmt.Errorf("read connections: %w", err)
		}
		for i := range chunk {
			if err := f(chunk[i]); err != nil {
				return done, err
			}
		}
		done += len(chunk)
		if len(chunk) < n || done == limit {
			return done, nil
		}
	}
}

// key is the primary key of a connection.
type key struct{ opened, run, id int64 }

// statement is the SQL for the next n rows behind cursor.
func (p *part) statement(b *builder, cursor key, n int) string {
	return p.statementOf(columns, b, cursor, n)
}

func (p *part) statementOf(columns string, b *builder, cursor key, n int) string {
	compare, direction := ">", ""
	if p.Order == NewestFirst {
		compare, direction = "<", " DESC"
	}
	text := "SELECT " + columns + " FROM connection c"
	last := "ifnull(c.last, 0)"
	switch {
	case p.ended:
		text, last = text+" INDEXED BY connection_ended", "c.last" // as the index has it
	case p.long:
		text += " INDEXED BY connection_long"
	}
	opened := "c.opened"
	if p.moments != nil {
		opened = "+c.opened" // not to be searched by
	}
	text += " WHERE (" + opened + ", c.run, c.id) " + compare +
		" (" + b.arg(cursor.opened) + ", " + b.arg(cursor.run) + ", " + b.arg(cursor.id) + ")" +
		" AND " + opened + " >= " + b.arg(p.from) + " AND " + opened + " < " + b.arg(p.to)
	if p.moments != nil {
		text += " AND c.opened IN (" + b.list(p.moments) + ")"
	}
	if p.long {
		text += fmt.Sprintf(" AND c.last > %d", int64(schema.LongConnection)) // no argument: the planner must see the number
	}
	if !p.Since.IsZero() {
		text += " AND c.opened + " + last + " >= " + b.arg(schema.FromTime(p.Since))
	}
	if where := b.where(p.Filters); where != "" {
		text += " AND " + where
	}
	return text + " ORDER BY c.opened" + direction + ", c.run" + direction + ", c.id" + direction + " LIMIT " + b.arg(int64(n))
}

const columns = `c.opened, c.run, c.id, c.last, c.process, c.pid, c.context, c.direction, c.family, c.proto,
c.laddr, c.lport, c.raddr, c.rport, c.domain, c.domain_source, c.domain_age, c.sni, c.country,
c.sent, c.received, c.packets, c.result, c.existing, c.decision, c.novelty`

// row is a row of connection as it is stored.
type row struct {
	key
	last, process               sql.NullInt64
	pid                         uint32
	context                     int64
	direction                   event.Direction
	family, proto, lport, rport uint16
	laddr, raddr, domain        sql.NullInt64
	source                      event.NameSource
	age, sni, country           sql.NullInt64
	sent, received, packets     uint64
	result                      event.Result
	existing                    bool
	decision                    int64
	novelty                     sql.NullInt64
}

func (w *row) targets() []any {
	return []any{&w.opened, &w.run, &w.id, &w.last, &w.process, &w.pid, &w.context, &w.direction, &w.family, &w.proto,
		&w.laddr, &w.lport, &w.raddr, &w.rport, &w.domain, &w.source, &w.age, &w.sni, &w.country,
		&w.sent, &w.received, &w.packets, &w.result, &w.existing, &w.decision, &w.novelty}
}

// chunk reads up to n records and the key of the last.
func (r *reader) chunk(ctx context.Context, p *part, cursor key, n int) ([]event.Record, key, error) {
	var b builder
	rows, err := r.rows(ctx, p.statement(&b, cursor, n), b.args)
	if err != nil {
		return nil, cursor, err
	}
	out := make([]event.Record, 0, len(rows))
	for i := range rows {
		rec, err := r.record(ctx, &rows[i])
		if err != nil {
			return nil, cursor, err
		}
		out = append(out, rec)
		cursor = rows[i].key
	}
	return out, cursor, nil
}

func (r *reader) rows(ctx context.Context, text string, args []any) ([]row, error) {
	rows, err := r.tx.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []row
	for rows.Next() {
		var w row
		if err := rows.Scan(w.targets()...); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		out = append(out, w)
	}
	return out, rows.Err()
}

// record puts a record together.
func (r *reader) record(ctx context.Context, w *row) (event.Record, error) {
	a, err := r.actor(ctx, w.context)
	if err != nil {
		return event.Record{}, err
	}
	d, err := r.decision(ctx, w.decision, 1)
	if err != nil {
		return event.Record{}, err
	}
	rec := event.Record{Time: schema.ToTime(w.opened), Action: d.action.String(), Would: d.would.String(), Rule: d.rule,
		Matches: slices.Clone(d.matches), Mode: d.mode.String(), Revision: d.revision, PID: w.pid, Host: a.host, UID: a.uid, User: r.account(&a),
		Container: a.container, Cgroup: a.cgroup, Unit: a.unit, NetNS: a.netns, Direction: w.direction.String(),
		Family: event.FamilyName(w.family), Proto: event.ProtoName(w.family, w.proto), LPort: w.lport, RPort: w.rport,
		DomainSource: w.source.String(), DomainAge: time.Duration(w.age.Int64).Seconds(), Sent: w.sent, Received: w.received,
		Packets: w.packets, Result: w.result.String(), Existing: w.existing, Novelty: []string{},
		Reason: d.reason, Position: d.position, Capped: d.capped, Provisional: d.provisional, Error: d.failure}
	if d.previous != nil {
		rec.Previous = d.previous.would.String()
	}
	if w.last.Valid {
		rec.Last = schema.ToTime(w.opened + w.last.Int64)
	}
	if err := r.fillNames(ctx, w, &rec); err != nil {
		return rec, err
	}
	return rec, r.fillProcess(ctx, w, &rec)
}

// fillNames looks up the strings that a row may have.
func (r *reader) fillNames(ctx context.Context, w *row, rec *event.Record) error {
	for _, s := range []struct {
		id   sql.NullInt64
		to   *string
		read func(context.Context, int64) (string, error)
	}{{w.laddr, &rec.LAddr, r.address}, {w.raddr, &rec.RAddr, r.address}, {w.domain, &rec.Domain, r.domain},
		{w.sni, &rec.SNI, r.domain}, {w.country, &rec.Country, r.text}} {
		if !s.id.Valid {
			continue
		}
		v, err := s.read(ctx, s.id.Int64)
		if err != nil {
			return err
		}
		*s.to = v
	}
	if !w.novelty.Valid {
		return nil
	}
	list, err := r.list(ctx, w.novelty.Int64)
	rec.Novelty = slices.Clone(list)
	return err
}

func (r *reader) fillProcess(ctx context.Context, w *row, rec *event.Record) error {
	if !w.process.Valid {
		return nil
	}
	l, err := r.process(ctx, w.process.Int64, event.MaxAncestors)
	if err != nil {
		return err
	}
	l.fill(rec)
	return nil
}

// fill copies a process and its ancestors into a record.
func (l *lineage) fill(rec *event.Record) {
	rec.Ancestor, rec.Script, rec.ScriptSHA256 = l.Ancestor, l.script, l.scriptSHA256
	n := 0
	for p := l.parent; p != nil && n < event.MaxAncestors; p = p.parent {
		n++
		a := p.Ancestor
		switch n {
		case 1:
			rec.Parent = &a
		case 2:
			rec.Grandparent = &a
		default:
			rec.Ancestors = append(rec.Ancestors, a)
		}
	}
}
