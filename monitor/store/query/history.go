package query

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"net/netip"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// historyRows is how many rows one read transaction of History goes over: a
// long one would keep the writer's log from being folded into the file.
const historyRows = 16384

// FactsKey is what the facts of a row come from: rows with one key have the
// same facts, but for the port of the end that began if History was not asked
// for it. Of one database file only.
type FactsKey [15]int64

// DecidedRow is a row of connection with its decision, for who decides again.
// It is valid until the next one.
type DecidedRow struct {
	Key            FactsKey
	Opened, Last   int64  // ns since 1970
	At             int64  // of the decision, ns since 1970; 0: not known
	Input          uint64 // digest of the facts of the decision; 0: not known
	Sent, Received uint64

	decision int64
	reader   *reader
	ctx      context.Context
	ports    [2]uint16 // local, remote
}

// historyColumns and the order of FactsKey belong together: from column keyed
// on they are the key.
const historyColumns = `c.opened, c.run, c.id, c.last, c.decided, c.input, c.sent, c.received, c.decision, c.lport, c.rport,
c.process, c.context, c.direction, c.family, c.proto, c.laddr, c.raddr, c.domain, c.domain_source, c.sni, c.country, c.names, c.novelty`

const (
	keyed   = 11
	keyPort = 13 // in FactsKey: the service port, then the port of the end that began
)

// History calls f with each row that q selects, oldest first, without its
// Limit and Order. With ports the key holds the port of the end that began,
// which is mostly another one for each connection. An error of f ends it.
func (db *DB) History(ctx context.Context, q Query, ports bool, f func(*DecidedRow) error) error {
	q.Order = OldestFirst
	h := historyBuffer{ports: ports}
	parts, err := db.parts(ctx, &q)
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	for _, p := range parts {
		h.cursor = key{p.from, math.MinInt64, math.MinInt64}
		for more := true; more; {
			err := db.read(ctx, func(r *reader) (err error) {
				more, err = r.historyChunk(ctx, &p, &h, f)
				return err
			})
			if err != nil {
				return fmt.Errorf("read history: %w", err)
			}
		}
	}
	return nil
}

// historyChunk hands out one chunk. While the driver is lent nothing else can
// be asked, so the rows are handed out after.
func (r *reader) historyChunk(ctx context.Context, p *part, h *historyBuffer, f func(*DecidedRow) error) (more bool, err error) {
	var b builder
	text := p.statementOf(historyColumns, &b, h.cursor, historyRows)
	h.rows = h.rows[:0]
	err = r.raw(ctx, text, b.args, func(values []driver.Value) {
		w := DecidedRow{reader: r, ctx: ctx}
		w.fill(values, h.ports)
		h.rows = append(h.rows, w)
		h.cursor = key{w.Opened, integer(values[1]), integer(values[2])}
	})
	for i := 0; err == nil && i < len(h.rows); i++ {
		err = f(&h.rows[i])
	}
	return len(h.rows) == historyRows, err
}

// historyBuffer is one chunk, and where the next begins.
type historyBuffer struct {
	rows   []DecidedRow
	cursor key
	ports  bool
}

func arguments(args []any) []driver.NamedValue {
	out := make([]driver.NamedValue, len(args))
	for i, a := range args {
		out[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return out
}

// integer is a column that holds a number; NULL is 0, which no number of an
// interned row is.
func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func (w *DecidedRow) fill(v []driver.Value, ports bool) {
	w.Opened, w.At = integer(v[0]), 0
	w.Last = w.Opened + integer(v[3])
	if v[4] != nil {
		w.At = w.Opened + integer(v[4])
	}
	w.Input, w.Sent, w.Received, w.decision = uint64(integer(v[5])), uint64(integer(v[6])), uint64(integer(v[7])), integer(v[8])
	w.ports = [2]uint16{uint16(integer(v[9])), uint16(integer(v[10]))}
	for i := keyed; i < len(v); i++ {
		w.Key[i-keyed] = integer(v[i])
	}
	service, begin := w.ports[1], w.ports[0]
	if event.Direction(w.Key[2]) != event.Out {
		service, begin = w.ports[0], w.ports[1]
	}
	w.Key[keyPort], w.Key[keyPort+1] = int64(service), -1
	if ports {
		w.Key[keyPort+1] = int64(begin)
	}
}

// DecisionID names the decision: equal numbers are equal decisions.
func (w *DecidedRow) DecisionID() int64 { return w.decision }

// Decision reads the decision; Previous is one step, At and Input are those of
// the row. It may be called until the next row.
func (w *DecidedRow) Decision() (event.Decision, error) {
	d, err := w.reader.decision(w.ctx, w.decision, 1)
	if err != nil {
		return event.Decision{}, err
	}
	out := d.event()
	if w.At != 0 {
		out.At = schema.ToTime(w.At)
	}
	out.Input = w.Input
	return out, nil
}

func (d *decision) event() event.Decision {
	out := event.Decision{Action: d.action, Would: d.would, Mode: d.mode, Rule: d.rule, Matches: d.matches, Revision: d.revision,
		Reason: d.reason, Pos: d.position, Capped: d.capped, Provisional: d.provisional, Error: d.failure}
	if d.previous != nil {
		before := d.previous.event()
		out.Previous = &before
	}
	return out
}

// Connection is the snapshot as far as facts are made of it: process with its
// lineage, ends, names, country, novelty. complete is false for rows of schema
// 1, which lack accounts, groups and packages of ancestors, and what names are
// worth. It may be called until the next row.
func (w *DecidedRow) Connection() (c event.Connection, complete bool, err error) {
	r, k := w.reader, &w.Key
	c = event.Connection{Opened: schema.ToTime(w.Opened), Direction: event.Direction(k[2]), Family: uint16(k[3]), Proto: uint16(k[4])}
	a, err := r.actor(w.ctx, k[1])
	if err != nil {
		return c, false, err
	}
	c.UID, c.User, c.NetNS, c.Cgroup = a.uid, a.user, a.netns, event.Cgroup{Path: a.cgroup, Unit: a.unit, Container: a.container}
	complete = k[7] == 0 || k[11] != 0
	if k[0] != 0 {
		p, err := r.image(w.ctx, k[0], event.MaxAncestors)
		if err != nil {
			return c, false, err
		}
		c.Process, complete = &p.Process, complete && p.complete
	}
	if c.Local, err = r.addrPort(w.ctx, k[5], w.ports[0]); err != nil {
		return c, false, err
	}
	if c.Remote, err = r.addrPort(w.ctx, k[6], w.ports[1]); err != nil {
		return c, false, err
	}
	if err := r.connectionNames(w.ctx, k, &c); err != nil {
		return c, false, err
	}
	return c, complete, nil
}

func (r *reader) connectionNames(ctx context.Context, k *FactsKey, c *event.Connection) (err error) {
	for _, s := range []struct {
		id   int64
		to   *string
		read func(context.Context, int64) (string, error)
	}{{k[7], &c.Name.Domain, r.domain}, {k[9], &c.Name.SNI, r.domain}, {k[10], &c.Country, r.text}} {
		if s.id != 0 {
			if *s.to, err = s.read(ctx, s.id); err != nil {
				return err
			}
		}
	}
	c.Name.Source = event.NameSource(k[8])
	if k[12] != 0 {
		if c.Novelty, err = r.list(ctx, k[12]); err != nil {
			return err
		}
	}
	if k[11] == 0 {
		return nil
	}
	list, err := r.list(ctx, k[11])
	if err != nil {
		return err
	}
	for _, item := range list {
		source, trusted, domain, err := schema.ToName(item)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		n := event.Name{Domain: domain, Source: event.ParseNameSource(source), Trusted: trusted}
		if n.Domain == c.Name.Domain && n.Source == c.Name.Source {
			c.Name.Trusted, n.SNI = trusted, c.Name.SNI
		}
		c.Names = append(c.Names, n)
	}
	return nil
}

func (r *reader) addrPort(ctx context.Context, id int64, port uint16) (netip.AddrPort, error) {
	if id == 0 {
		return netip.AddrPortFrom(netip.Addr{}, port), nil
	}
	s, err := r.address(ctx, id)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return netip.AddrPortFrom(a, port), nil
}

const selectImage = `SELECT e.path, e.view, e.kind, e.sha256, e.reason, e.package, n.value, a.value, p.parent, p.context,
s.path, s.view, s.sha256 FROM process p JOIN executable e ON e.id = p.executable JOIN text n ON n.id = p.name
JOIN text a ON a.id = p.cmdline LEFT JOIN script s ON s.id = p.script WHERE p.id = ?`

// image reads a process and its ancestors, at most depth of them. Its
// arguments are one string.
func (r *reader) image(ctx context.Context, id int64, depth int) (*image, error) {
	if depth < 0 {
		return nil, nil
	}
	return remembered(r.names, r.names.images, id, func() (*image, error) {
		p := &image{complete: true}
		var sha, scriptSHA []byte
		var cmdline string
		var parent, context sql.NullInt64
		var script, view sql.NullString
		x := &p.Executable
		err := r.row(ctx, "process", selectImage, id, &x.Path, &x.View, &x.Kind, &sha, &x.Reason, &x.Package, &p.Name, &cmdline,
			&parent, &context, &script, &view, &scriptSHA)
		if err != nil {
			return nil, err
		}
		x.SHA256, p.Args = toDigest(sha), []string{cmdline}
		if script.Valid {
			p.Script = &event.Script{Path: script.String, View: view.String, SHA256: toDigest(scriptSHA)}
		}
		if p.complete = context.Valid; context.Valid {
			a, err := r.actor(ctx, context.Int64)
			if err != nil {
				return nil, err
			}
			p.UID, p.User, p.NetNS, p.Cgroup = a.uid, a.user, a.netns, event.Cgroup{Path: a.cgroup, Unit: a.unit, Container: a.container}
		}
		if parent.Valid {
			above, err := r.image(ctx, parent.Int64, depth-1)
			if err != nil {
				return nil, err
			}
			if above != nil {
				p.Parent, p.complete = &above.Process, p.complete && above.complete
			}
		}
		return p, nil
	})
}

func toDigest(b []byte) (d event.Digest) {
	if len(b) == len(d) {
		d = event.Digest(b)
	}
	return d
}

// Span is the time from the first to the last connection in the file, and how
// many there are, to tell how far a reading of all has come.
func (db *DB) Span(ctx context.Context) (first, last time.Time, rows uint64, err error) {
	err = db.read(ctx, func(r *reader) error {
		var from, to sql.NullInt64
		err := r.tx.QueryRowContext(ctx, `SELECT (SELECT opened FROM connection ORDER BY opened LIMIT 1),
			(SELECT opened FROM connection ORDER BY opened DESC LIMIT 1), (SELECT value FROM counter WHERE name = 'connection')`).Scan(&from, &to, &rows)
		first, last = schema.ToTime(from.Int64), schema.ToTime(to.Int64)
		return err
	})
	if err != nil {
		return first, last, 0, fmt.Errorf("read span of history: %w", err)
	}
	return first, last, rows, nil
}
