package table

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Tuple is what the kernel knows of a connection. To and From are as in
// rule.Facts: From began it.
type Tuple struct {
	Direction event.Direction
	Proto     string // event.ProtoName; mptcp is tcp
	To, From  Peer
}

// Peer is an end of a Tuple. An invalid Addr is unknown or does not exist.
type Peer struct {
	Addr    netip.Addr
	Port    uint16
	HasPort bool
}

// TupleOf is what of f the kernel knows.
func TupleOf(f *rule.Facts) Tuple {
	end := func(e *rule.Endpoint) Peer { return Peer{e.Addr, e.Port, e.HasPort} }
	return Tuple{Direction: f.Direction, Proto: f.Proto, To: end(&f.To), From: end(&f.From)}
}

// Lookup is the entry that the kernel finds for a class at a time: the look-up
// of docs/tables.md, step by step, in the entries that Addresses, Groups and
// Verdicts yield. A class or direction that it does not know, and an entry that
// has expired, is Ask.
func (c *Classes) Lookup(class ClassID, t Tuple, now time.Time) Entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if class == 0 || int(class) >= len(c.classes) {
		return Entry{Verdict: Ask}
	}
	k := c.kernel
	id, known := c.classes[class][groupKey{t.Direction, k.columns[t.Proto]}]
	if !known {
		return Entry{Verdict: Ask}
	}
	g := c.groups[id]
	var at place
	if g.dims[toAddress].count > 1 {
		at[toAddress] = g.dims[toAddress].places[k.addrs.of(t.To.Addr)]
	}
	if g.dims[fromAddress].count > 1 {
		at[fromAddress] = g.dims[fromAddress].places[k.addrs.of(t.From.Addr)]
	}
	if g.dims[fromPort].count > 1 {
		at[fromPort] = g.dims[fromPort].places[k.sources.of(t.From.Port, t.From.HasPort)]
	}
	key := verdictKey(id, at, t.To.Port, t.To.HasPort)
	e, ok := g.verdicts.get(key[:])
	if !ok || !e.Until.IsZero() && !now.Before(e.Until) {
		return Entry{Verdict: Ask, Rule: e.Rule}
	}
	return e
}

// Keys of the verdict table: group u32, the places u16 each, has-port u16,
// port u16, all in network order; only the port is ever cut short.
const (
	verdictKeyLen = 14
	verdictFixed  = (verdictKeyLen - 2) * 8
)

func verdictKey(group uint32, at place, port uint16, hasPort bool) (key [verdictKeyLen]byte) {
	binary.BigEndian.PutUint32(key[:], group)
	for d, p := range at {
		binary.BigEndian.PutUint16(key[4+2*d:], p)
	}
	if hasPort {
		key[11] = 1
	}
	binary.BigEndian.PutUint16(key[12:], port)
	return key
}

// load enters a row. The entry of most ports becomes the shortest prefix, over
// which longer ones lie.
func (g *group) load(at place, r row) {
	key := verdictKey(g.id, at, 0, false)
	g.verdicts.put(key[:], verdictKeyLen*8, r.portless)
	widest := slices.MaxFunc(r.ports, func(a, b span) int { return int(a.Last-a.First) - int(b.Last-b.First) })
	key = verdictKey(g.id, at, 0, true)
	g.verdicts.put(key[:], verdictFixed, widest.Entry)
	for _, s := range r.ports {
		if s.Entry == widest.Entry {
			continue
		}
		for first, length := range portPrefixes(s.PortRange) {
			key = verdictKey(g.id, at, first, true)
			g.verdicts.put(key[:], verdictFixed+length, s.Entry)
		}
	}
}

// portPrefixes cuts a range into the fewest prefixes: first port and length.
func portPrefixes(r rule.PortRange) iter.Seq2[uint16, int] {
	return func(yield func(uint16, int) bool) {
		for first, end := int(r.First), int(r.Last)+1; first < end; {
			size := 1 << 16
			if first > 0 {
				size = first & -first
			}
			for first+size > end {
				size /= 2
			}
			if !yield(uint16(first), 16-bits.TrailingZeros(uint(size))) {
				return
			}
			first += size
		}
	}
}
