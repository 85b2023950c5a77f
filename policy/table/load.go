package table

import (
	"iter"
	"maps"

	"snitch/monitor/event"
)

// What follows is what a loader writes into the kernel's maps, which docs/tables.md
// describes. Lookup reads the same values.

// Dimension says of which classifier a cell is.
type Dimension uint8

// Dimensions; the numbers stand in keys.
const (
	ToAddress   Dimension = toAddress
	FromAddress Dimension = fromAddress
	FromPort    Dimension = fromPort
)

// Addresses are the entries of the address trie: 16 bytes, IPv4 as mapped
// IPv6, to the cell. An address without an entry is of cell 0.
func (k *Kernel) Addresses() iter.Seq2[Prefix, uint32] { return k.addrs.trie.all(16) }

// Protos is the column of each protocol that rules name, by event.ProtoName;
// others are of column 0.
func (k *Kernel) Protos() map[string]uint16 { return maps.Clone(k.columns) }

// SourcePorts is the cell of every port of From; no port is of cell 0. There are
// none when no rule asks for it: then no group looks at them.
func (k *Kernel) SourcePorts() iter.Seq2[uint16, uint32] {
	return func(yield func(uint16, uint32) bool) {
		if !k.sources.asked {
			return
		}
		for port := range 1 << 16 {
			if !yield(uint16(port), k.sources.of(uint16(port), true)) {
				return
			}
		}
	}
}

// GroupKey is a key of the group map.
type GroupKey struct {
	Class     ClassID
	Direction event.Direction
	Column    uint16
}

// Group is a value of the group map: its number, and which of the dimensions
// it looks at, as bits 1<<Dimension.
type Group struct {
	ID   uint32
	Uses uint8
}

// Groups are the entries of the group map for one class.
func (c *Classes) Groups(class ClassID) map[GroupKey]Group {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := map[GroupKey]Group{}
	if int(class) >= len(c.classes) {
		return out
	}
	for k, id := range c.classes[class] {
		g := Group{ID: id}
		for d, dim := range c.groups[id].dims {
			if dim.count > 1 {
				g.Uses |= 1 << d
			}
		}
		out[GroupKey{class, k.direction, k.column}] = g
	}
	return out
}

// PlaceKey is a key of the place map.
type PlaceKey struct {
	Group     uint32
	Dimension Dimension
	Cell      uint32
}

// Places are the entries of the place map for one group. What has none is at
// place 0.
func (c *Classes) Places(group uint32) map[PlaceKey]uint16 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := map[PlaceKey]uint16{}
	if int(group) >= len(c.groups) {
		return out
	}
	for d, dim := range c.groups[group].dims {
		for cell, at := range dim.places {
			out[PlaceKey{group, Dimension(d), cell}] = at
		}
	}
	return out
}

// Verdicts are the entries of the verdict trie of one group: 14 bytes, of
// which only the port is ever cut short.
func (c *Classes) Verdicts(group uint32) iter.Seq2[Prefix, Entry] {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if int(group) >= len(c.groups) {
		return func(func(Prefix, Entry) bool) {}
	}
	return c.groups[group].verdicts.all(verdictKeyLen)
}
