package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// Bounds of the caches, in entries of half a cache. An entry is a digest and a
// number, about 50 bytes with the map's own share.
const (
	textCache  = 4096
	tupleCache = 2048
)

// textKey stands for a string in a cache: half a SHA-256, so that a cache of
// command lines does not hold command lines.
type textKey [16]byte

func keyOf(parts ...string) textKey {
	buf := make([]byte, 0, 256) // on the stack, for all but long command lines
	for _, p := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	sum := sha256.Sum256(buf)
	return textKey(sum[:16])
}

// tuple is a row of numbers, with the table that it belongs to.
type tuple struct {
	table table
	n     [12]int64
}

// table is an interned table; those that refer to others come first.
type table uint8

const (
	tableProcess table = iota
	tableContext
	tableDecision
	tableExecutable
	tableScript
	tableCgroup
	tableList
	tableText
	tableDomain
	tableAddress
	tables
)

var tableNames = [tables]string{"process", "context", "decision", "executable", "script", "cgroup", "list", "text", "domain", "address"}

// interner turns strings and tuples into the numbers of their rows, adding
// rows as needed. What it learned in a transaction that was rolled back must
// be cleared. It belongs to the writer.
type interner struct {
	c      *conn
	now    int64 // of the transaction, ns since 1970
	texts  [tables]*cache[textKey]
	addrs  *cache[netip.Addr]
	tuples *cache[tuple]
	// seen is told every number that is handed out; the collection of orphans
	// listens while it runs.
	seen func(table, int64)
}

func newInterner(c *conn) *interner {
	in := &interner{c: c, addrs: newCache[netip.Addr](tupleCache), tuples: newCache[tuple](tupleCache)}
	for i := range in.texts {
		in.texts[i] = newCache[textKey](textCache)
	}
	return in
}

func (in *interner) clear() {
	for _, c := range in.texts {
		c.clear()
	}
	in.addrs.clear()
	in.tuples.clear()
}

func (in *interner) saw(t table, id int64) int64 {
	if in.seen != nil {
		in.seen(t, id)
	}
	return id
}

// find runs the query, and the insert when there is no such row.
func (in *interner) find(t table, query, insert string, queryArgs, insertArgs []any) (int64, error) {
	id, ok, err := in.c.number(query, queryArgs...)
	if err != nil {
		return 0, fmt.Errorf("look up %s: %w", tableNames[t], err)
	}
	if ok {
		return id, nil
	}
	res, err := in.c.exec(insert, insertArgs...)
	if err != nil {
		return 0, fmt.Errorf("add %s: %w", tableNames[t], err)
	}
	return res.LastInsertId()
}

// cached is find behind a cache of strings.
func (in *interner) cached(t table, key textKey, query, insert string, queryArgs, insertArgs []any) (int64, error) {
	if id, ok := in.texts[t].get(key); ok {
		return in.saw(t, id), nil
	}
	id, err := in.find(t, query, insert, queryArgs, insertArgs)
	if err != nil {
		return 0, err
	}
	in.texts[t].put(key, id)
	return in.saw(t, id), nil
}

// numbers is find behind a cache of tuples.
func (in *interner) numbers(t tuple, query, insert string, args ...any) (int64, error) {
	if id, ok := in.tuples.get(t); ok {
		return in.saw(t.table, id), nil
	}
	id, err := in.find(t.table, query, insert, args, args)
	if err != nil {
		return 0, err
	}
	in.tuples.put(t, id)
	return in.saw(t.table, id), nil
}

func (in *interner) text(s string) (int64, error) {
	key := keyOf(s)
	if id, ok := in.texts[tableText].get(key); ok {
		return in.saw(tableText, id), nil
	}
	args := []any{schema.TextHash(s), s}
	return in.cached(tableText, key, "SELECT id FROM text WHERE hash = ? AND value = ?",
		"INSERT INTO text (hash, value) VALUES (?, ?)", args, args)
}

func (in *interner) domain(name string) (int64, error) {
	args := []any{name}
	return in.cached(tableDomain, keyOf(name), "SELECT id FROM domain WHERE name = ?",
		"INSERT INTO domain (name) VALUES (?)", args, args)
}

func (in *interner) list(items []string) (int64, error) {
	s := schema.FromList(items)
	args := []any{s}
	return in.cached(tableList, keyOf(s), "SELECT id FROM list WHERE items = ?",
		"INSERT INTO list (items) VALUES (?)", args, args)
}

// address is the number of a; a must be valid.
func (in *interner) address(a netip.Addr) (int64, error) {
	a = a.Unmap()
	if id, ok := in.addrs.get(a); ok {
		return in.saw(tableAddress, id), nil
	}
	args := []any{schema.FromAddr(a)}
	id, err := in.find(tableAddress, "SELECT id FROM address WHERE bytes = ?",
		"INSERT INTO address (bytes) VALUES (?)", args, args)
	if err != nil {
		return 0, err
	}
	in.addrs.put(a, id)
	return in.saw(tableAddress, id), nil
}

// digestColumns are a digest and why there is none. The reason is of no
// interest once there is one.
func digestColumns(d event.Digest, r event.HashReason) (blob, key []byte, reason int64) {
	if d.IsZero() {
		return nil, []byte{}, int64(r)
	}
	return d[:], d[:], int64(event.HashKnown)
}

// nullable keeps a nil slice a NULL.
func nullable(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

func (in *interner) executable(e *event.Executable) (int64, error) {
	blob, key, reason := digestColumns(e.SHA256, e.Reason)
	kind := int64(e.Kind)
	return in.cached(tableExecutable, keyOf(e.Path, e.View, string(key), string([]byte{byte(e.Kind), byte(reason)}), e.Package),
		"SELECT id FROM executable WHERE path = ? AND view = ? AND kind = ? AND reason = ? AND ifnull(sha256, x'') = ? AND package = ?",
		"INSERT INTO executable (path, view, kind, reason, sha256, package, first) VALUES (?, ?, ?, ?, ?, ?, ?)",
		[]any{e.Path, e.View, kind, reason, key, e.Package}, []any{e.Path, e.View, kind, reason, nullable(blob), e.Package, in.now})
}

func (in *interner) script(s *event.Script) (int64, error) {
	blob, key, reason := digestColumns(s.SHA256, s.Reason)
	return in.cached(tableScript, keyOf(s.Path, s.View, string(key), string([]byte{byte(reason)})),
		"SELECT id FROM script WHERE path = ? AND view = ? AND reason = ? AND ifnull(sha256, x'') = ?",
		"INSERT INTO script (path, view, reason, sha256) VALUES (?, ?, ?, ?)",
		[]any{s.Path, s.View, reason, key}, []any{s.Path, s.View, reason, nullable(blob)})
}

func (in *interner) cgroup(g *event.Cgroup) (int64, error) {
	args := []any{g.Path, g.Unit, g.Container}
	return in.cached(tableCgroup, keyOf(g.Path, g.Unit, g.Container),
		"SELECT id FROM cgroup WHERE path = ? AND unit = ? AND container = ?",
		"INSERT INTO cgroup (path, unit, container) VALUES (?, ?, ?)", args, args)
}

// context is who acted and where.
func (in *interner) context(a *actor) (r actorRefs, err error) {
	if r.cgroup, err = in.cgroup(&a.cgroup); err != nil {
		return r, err
	}
	user, err := in.optional(a.user)
	if err != nil {
		return r, err
	}
	host, err := in.optional(a.host)
	if err != nil {
		return r, err
	}
	t := tuple{tableContext, [12]int64{int64(a.uid), int64(a.netns), r.cgroup, user, host}}
	r.context, err = in.numbers(t, "SELECT id FROM context WHERE uid = ? AND netns = ? AND cgroup = ? AND ifnull(user, 0) = ? AND ifnull(host, 0) = ?",
		"INSERT INTO context (uid, netns, cgroup, user, host) VALUES (?, ?, ?, nullif(?, 0), nullif(?, 0))", t.n[0], t.n[1], t.n[2], t.n[3], t.n[4])
	return r, err
}

// optional is the number of s, 0 (stored as NULL) for the empty string.
func (in *interner) optional(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	return in.text(s)
}

// lineage is the interned form of a process.
type lineage struct{ process, executable, name, parentExecutable int64 }

// process interns p and its ancestors, at most depth of them. The numbers of
// every part are looked up each time, not only that of the whole: the
// collection of orphans relies on hearing of all of them.
func (in *interner) process(p *event.Process, depth int) (l lineage, err error) {
	var parent lineage
	if p.Parent != nil && depth > 0 {
		if parent, err = in.process(p.Parent, depth-1); err != nil {
			return l, err
		}
		l.parentExecutable = parent.executable
	}
	if l.executable, err = in.executable(&p.Executable); err != nil {
		return l, err
	}
	if l.name, err = in.text(p.Name); err != nil {
		return l, err
	}
	cmdline, err := in.text(p.Cmdline())
	if err != nil {
		return l, err
	}
	var script int64
	if p.Script != nil {
		if script, err = in.script(p.Script); err != nil {
			return l, err
		}
	}
	a, err := in.context(&actor{uid: p.UID, netns: p.NetNS, user: p.User, cgroup: p.Cgroup})
	if err != nil {
		return l, err
	}
	l.process, err = in.numbers(tuple{tableProcess, [12]int64{parent.process, l.executable, l.name, cmdline, script, a.context}},
		"SELECT id FROM process WHERE ifnull(parent, 0) = ? AND executable = ? AND name = ? AND cmdline = ? AND ifnull(script, 0) = ? AND ifnull(context, 0) = ?",
		"INSERT INTO process (parent, executable, name, cmdline, script, context) VALUES (nullif(?, 0), ?, ?, ?, nullif(?, 0), nullif(?, 0))",
		parent.process, l.executable, l.name, cmdline, script, a.context)
	return l, err
}
