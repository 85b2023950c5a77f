package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// Kinds of what is known; the numbers are stored, the names are policy's.
type knownKind uint8

const (
	knownProgram     knownKind = 1
	knownHash        knownKind = 2
	knownParent      knownKind = 3
	knownDestination knownKind = 4
	knownListener    knownKind = 5
	knownKinds                 = 6
)

var knownNames = [knownKinds]string{"", "program", "hash", "parent", "destination", "listener"}

// Bounds of what is remembered. A program is a path, so that hosts which build
// and run in directories with random names have many.
const (
	maxPrograms     = 65536
	maxFacts        = 262144 // of all programs together
	maxDestinations = 4096   // of one program: one that talks to so many has no new ones
	maxFewer        = 1024   // digests, parents, listeners of one program
	toldKept        = 8192   // connections whose novelty is remembered for their later snapshots
)

// novelty remembers which programs were seen with what. A key is half a keyed
// SHA-256: nobody who does not know the database's salt can make two programs
// meet. It is safe for concurrent use.
type novelty struct {
	mu       sync.Mutex // guards what follows
	salt     []byte     // nil: nothing was read yet
	programs map[int64]*knownProgramFacts
	facts    int
	fresh    []knownRow // not handed to the queue yet
	told     map[uint64][]string
	order    []uint64 // ring of told
	next     int
	overflow uint64
}

type knownProgramFacts struct {
	first int64
	used  bool // in this run
	keys  map[int64]knownKind
	count [knownKinds]uint16
}

// knownRow is a row of table known, or with kind 0 the removal of a program.
type knownRow struct {
	program, key int64
	kind         knownKind
	first        int64
}

// sighting is what one snapshot shows.
type sighting struct {
	program, hash, parent, destination, listener string
	at                                           int64
}

// Novelty says what the record had never seen before this connection, in the
// words of rules (program, hash, parent, destination, listener), and remembers
// it: the next connection of the kind has none of it. Later snapshots of a
// connection get what its earlier ones got, and what a fact that arrived
// meanwhile adds. What is remembered is written with the rows of the Batch
// that is appended next, so that after a crash a row and its novelty are both
// there or both not.
//
// A new program has nothing else that is new but its listener. Without a
// database that could be read Novelty says nothing. It is safe for concurrent
// use and does not wait for the disk.
func (s *Store) Novelty(c *event.Connection) []string {
	return s.novel.of(c)
}

// Foresee says what Novelty would, and remembers nothing: c has not happened yet.
// It is safe for concurrent use and does not wait for the disk.
func (s *Store) Foresee(c *event.Connection) []string {
	return s.novel.foresee(c)
}

// sightingOf is what a snapshot shows; ok is false when it has no program.
func sightingOf(c *event.Connection) (g sighting, ok bool) {
	p := c.Process
	if p == nil || p.Executable.Path == "" {
		return g, false
	}
	g.program, g.hash, g.at = placed(&p.Executable), string(p.Executable.SHA256[:]), schema.FromTime(c.Opened)
	if p.Executable.SHA256.IsZero() {
		g.hash = ""
	}
	if p.Parent != nil && p.Parent.Executable.Path != "" {
		g.parent = placed(&p.Parent.Executable)
	}
	switch c.Direction {
	case event.Out:
		g.destination = peerOf(c)
	case event.Listen:
		g.listener = listenerKey(c.Family, c.Proto, c.Local.Port())
	}
	return g, true
}

// listenerKey is one for IPv4 and IPv6: one service often has both.
func listenerKey(family, proto, port uint16) string {
	if family == event.AFInet6 {
		family = event.AFInet
	}
	return string(binary.BigEndian.AppendUint64(nil, uint64(schema.ServiceKey(family, proto, port))))
}

func placed(e *event.Executable) string { return e.View + "\x00" + e.Path }

// peerOf is the name of the peer, or its address when it has none but a label.
func peerOf(c *event.Connection) string {
	switch {
	case c.Name.Domain != "" && c.Name.Source != event.NameReverse:
		return "name " + c.Name.Domain
	case c.Remote.Addr().IsValid():
		return "addr " + string(schema.FromAddr(c.Remote.Addr()))
	}
	return ""
}

func (n *novelty) of(c *event.Connection) []string {
	g, ok := sightingOf(c)
	if !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.salt == nil {
		return nil
	}
	before := n.told[c.ID]
	now := n.see(&g)
	if len(now) == 0 {
		return slices.Clone(before)
	}
	all := slices.Clone(before)
	for _, k := range now {
		if !slices.Contains(all, knownNames[k]) {
			all = append(all, knownNames[k])
		}
	}
	n.tell(c.ID, all)
	return slices.Clone(all)
}

func (n *novelty) foresee(c *event.Connection) (out []string) {
	g, ok := sightingOf(c)
	if !ok {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.salt == nil {
		return nil
	}
	program := n.key(knownProgram, 0, g.program)
	p, known := n.programs[program]
	if !known {
		p = &knownProgramFacts{}
		out = append(out, knownNames[knownProgram])
	}
	for _, f := range p.judge(&g, known) {
		if f.value == "" || !f.tell {
			continue
		}
		if _, ok := p.keys[n.key(f.kind, program, f.value)]; !ok && !n.silent(p, f.kind) {
			out = append(out, knownNames[f.kind])
		}
	}
	return out
}

// aspect is one value of a sighting; tell says whether it is told where the
// program has none of the kind yet: its first digest and parent change nothing.
type aspect struct {
	kind  knownKind
	value string
	tell  bool
}

func (p *knownProgramFacts) judge(g *sighting, known bool) [4]aspect {
	return [...]aspect{{knownHash, g.hash, p.count[knownHash] > 0}, {knownParent, g.parent, p.count[knownParent] > 0},
		{knownDestination, g.destination, known}, {knownListener, g.listener, true}}
}

// tell remembers the novelty of a connection for its later snapshots.
func (n *novelty) tell(id uint64, all []string) {
	if _, ok := n.told[id]; !ok {
		if len(n.order) < toldKept {
			n.order = append(n.order, id)
		} else {
			delete(n.told, n.order[n.next])
			n.order[n.next] = id
			n.next = (n.next + 1) % toldKept
		}
	}
	n.told[id] = all
}

// see returns what is new about g and remembers it.
func (n *novelty) see(g *sighting) (out []knownKind) {
	key := n.key(knownProgram, 0, g.program)
	p, known := n.programs[key]
	if !known {
		out = append(out, knownProgram)
		if p = n.admit(key, g.at); p == nil {
			return out
		}
	}
	p.used = true
	for _, f := range p.judge(g, known) {
		if f.value != "" && n.add(p, key, f.kind, f.value, g.at) && f.tell {
			out = append(out, f.kind)
		}
	}
	return out
}

// add remembers a fact of a program and reports whether it is new. Where there
// is no room a digest or parent is new each time, for silence would hide a
// program that was exchanged; a destination or listener is not.
func (n *novelty) add(p *knownProgramFacts, program int64, kind knownKind, value string, at int64) bool {
	key := n.key(kind, program, value)
	if _, ok := p.keys[key]; ok {
		return false
	}
	if n.full(p, kind) {
		n.overflow++
		return !n.silent(p, kind)
	}
	n.put(p, knownRow{program, key, kind, at})
	n.fresh = append(n.fresh, knownRow{program, key, kind, at})
	return true
}

// full reports whether there is no room for another fact of a program.
func (n *novelty) full(p *knownProgramFacts, kind knownKind) bool {
	limit := uint16(maxFewer)
	if kind == knownDestination {
		limit = maxDestinations
	}
	return p.count[kind] >= limit || n.facts >= maxFacts
}

// silent reports whether a fact that is not remembered is not told either.
func (n *novelty) silent(p *knownProgramFacts, kind knownKind) bool {
	return n.full(p, kind) && kind != knownHash && kind != knownParent
}

func (n *novelty) put(p *knownProgramFacts, r knownRow) {
	if p.keys == nil {
		p.keys = make(map[int64]knownKind)
	}
	p.keys[r.key] = r.kind
	p.count[r.kind]++
	n.facts++
}

// admit makes room for a program, or returns nil when all are in use.
func (n *novelty) admit(key, at int64) *knownProgramFacts {
	if len(n.programs) >= maxPrograms && !n.forgetOld() {
		n.overflow++
		return nil
	}
	p := &knownProgramFacts{first: at}
	n.programs[key] = p
	n.fresh = append(n.fresh, knownRow{key, key, knownProgram, at})
	return p
}

// forgetOld forgets a quarter of the programs, those first seen longest ago
// among the ones that did nothing in this run.
func (n *novelty) forgetOld() bool {
	var idle []int64
	for key, p := range n.programs {
		if !p.used {
			idle = append(idle, key)
		}
	}
	slices.SortFunc(idle, func(a, b int64) int {
		return cmp.Or(cmp.Compare(n.programs[a].first, n.programs[b].first), cmp.Compare(a, b))
	})
	idle = idle[:min(len(idle), maxPrograms/4)]
	for _, key := range idle {
		n.facts -= len(n.programs[key].keys)
		delete(n.programs, key)
		n.fresh = append(n.fresh, knownRow{program: key})
	}
	n.overflow += uint64(len(idle))
	return len(idle) > 0
}

// key is half of a keyed digest.
func (n *novelty) key(kind knownKind, program int64, value string) int64 {
	buf := make([]byte, 0, 256)
	buf = append(buf, n.salt...)
	buf = append(buf, byte(kind))
	buf = binary.BigEndian.AppendUint64(buf, uint64(program))
	buf = append(buf, value...)
	sum := sha256.Sum256(buf)
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// take hands out what was learned since the last call.
func (n *novelty) take() []knownRow {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.fresh
	n.fresh = nil
	return out
}

func (n *novelty) stats() Known {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Known{Programs: uint64(len(n.programs)), Facts: uint64(n.facts), Overflow: n.overflow}
}
