package store

import (
	"context"
	"database/sql/driver"
	"fmt"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// seedRows is how many of the newest connections a record of schema 1 is
// searched for what was known before: about a second.
const seedRows = 500_000

// attach reads what the file knows, when nothing was read before; otherwise,
// when the file is another one, it makes the file know what is in memory.
func (n *novelty) attach(ctx context.Context, c *conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	salt, err := c.blob(ctx, "SELECT value FROM setting WHERE name = 'known_salt'")
	if err != nil {
		return err
	}
	if len(salt) == 0 {
		return corruptf("the salt of what is known is gone")
	}
	switch {
	case n.salt == nil:
		return n.load(ctx, c, salt)
	case string(salt) != string(n.salt):
		return n.moveTo(c)
	}
	return nil
}

func (n *novelty) load(ctx context.Context, c *conn, salt []byte) error {
	n.salt, n.programs, n.told = salt, make(map[int64]*knownProgramFacts), make(map[uint64][]string)
	err := n.read(ctx, c)
	if err == nil && len(n.programs) == 0 {
		err = n.seed(ctx, c)
	}
	if err != nil {
		n.salt, n.programs, n.facts, n.fresh = nil, nil, 0, nil
	}
	return err
}

func (n *novelty) read(ctx context.Context, c *conn) error {
	return c.rows(ctx, "SELECT program, key, kind, first FROM known ORDER BY program LIMIT ?", func(row []driver.Value) error {
		program, _ := row[0].(int64)
		key, _ := row[1].(int64)
		kind, _ := row[2].(int64)
		first, _ := row[3].(int64)
		if kind < 1 || kind >= knownKinds {
			return corruptf("known has kind %d", kind)
		}
		p := n.programs[program]
		if p == nil {
			p = &knownProgramFacts{first: first}
			n.programs[program] = p
		}
		if knownKind(kind) == knownProgram {
			p.first = first
			return nil
		}
		n.put(p, knownRow{program, key, knownKind(kind), first})
		return nil
	}, int64(maxPrograms+maxFacts))
}

// moveTo gives another file what is in memory, under the salt that it is in.
func (n *novelty) moveTo(c *conn) error {
	err := c.transaction(func() error {
		if _, err := c.exec("DELETE FROM known"); err != nil {
			return err
		}
		_, err := c.exec("UPDATE setting SET value = ? WHERE name = 'known_salt'", n.salt)
		return err
	})
	if err != nil {
		return err
	}
	n.fresh = nil
	for key, p := range n.programs {
		n.fresh = append(n.fresh, knownRow{key, key, knownProgram, p.first})
		for k, kind := range p.keys {
			n.fresh = append(n.fresh, knownRow{key, k, kind, p.first})
		}
	}
	return nil
}

// putKnown writes a row of table known, or removes a program from it.
func (t *txn) putKnown(r knownRow) error {
	if r.kind == 0 {
		_, err := t.w.c.exec("DELETE FROM known WHERE program = ?", r.program)
		return err
	}
	_, err := t.w.c.exec("INSERT OR IGNORE INTO known (program, key, kind, first) VALUES (?, ?, ?, ?)", r.program, r.key, int64(r.kind), r.first)
	return err
}

// blob returns the first column of the first row as bytes.
func (c *conn) blob(ctx context.Context, sql string, args ...any) (out []byte, err error) {
	err = c.rows(ctx, sql, func(row []driver.Value) error {
		b, _ := row[0].([]byte)
		out = append([]byte(nil), b...)
		return nil
	}, args...)
	return out, err
}

// seed learns from the rows of a record that has none in table known: it comes
// from schema 1. Programs and their digests come from the sums, which reach
// back for years, the rest from the newest connections.
func (n *novelty) seed(ctx context.Context, c *conn) error {
	err := c.rows(ctx, `SELECT view, path, sha256 FROM executable WHERE path <> '' AND id IN (SELECT key FROM rollup WHERE dim = ?)`,
		func(row []driver.Value) error {
			g := sighting{program: text(row[0]) + "\x00" + text(row[1]), hash: text(row[2])}
			n.see(&g)
			return nil
		}, int64(schema.DimExecutable))
	if err != nil {
		return fmt.Errorf("learn programs: %w", err)
	}
	err = c.rows(ctx, `SELECT e.view, e.path, e.sha256, f.view, f.path, c.direction, c.family, c.proto, c.lport, d.name, c.domain_source, a.bytes, c.opened
		FROM (SELECT * FROM connection ORDER BY opened DESC, run DESC, id DESC LIMIT ?) c
		JOIN process p ON p.id = c.process JOIN executable e ON e.id = p.executable AND e.path <> ''
		LEFT JOIN process q ON q.id = p.parent LEFT JOIN executable f ON f.id = q.executable
		LEFT JOIN domain d ON d.id = c.domain LEFT JOIN address a ON a.id = c.raddr`,
		func(row []driver.Value) error {
			g := seedOf(row)
			n.see(&g)
			return nil
		}, int64(seedRows))
	if err != nil {
		return fmt.Errorf("learn from connections: %w", err)
	}
	for _, p := range n.programs {
		p.used = false
	}
	return nil
}

func seedOf(row []driver.Value) sighting {
	number := func(i int) int64 { v, _ := row[i].(int64); return v }
	g := sighting{program: text(row[0]) + "\x00" + text(row[1]), hash: text(row[2]), at: number(12)}
	if path := text(row[4]); path != "" {
		g.parent = text(row[3]) + "\x00" + path
	}
	switch event.Direction(number(5)) {
	case event.Out:
		if name := text(row[9]); name != "" && event.NameSource(number(10)) != event.NameReverse {
			g.destination = "name " + name
		} else if addr := text(row[11]); addr != "" {
			g.destination = "addr " + addr
		}
	case event.Listen:
		g.listener = listenerKey(uint16(number(6)), uint16(number(7)), uint16(number(8)))
	}
	return g
}

// text is a column of text or bytes.
func text(v driver.Value) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}
