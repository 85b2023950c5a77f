package table

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// ErrFull says that there are as many classes, or as large ones, as the
// kernel's tables hold. Such a subject is of class 0, whose every look-up is
// Ask.
var ErrFull = errors.New("tables are full")

// ClassID numbers the classes of one Classes from 1. The zero value is a
// subject that was not classified.
type ClassID uint32

// Bounds of Classes.
const (
	MaxClasses = 1 << 16
	MaxRows    = 1 << 16 // of one group
)

// Classes sorts subjects: those that satisfy the same process conditions are
// of one class, and the kernel's entries are made once for it. It is safe for
// concurrent use.
type Classes struct {
	kernel *Kernel

	mu      sync.RWMutex
	ids     map[string]ClassID
	classes []map[groupKey]uint32 // by ClassID: the groups
	groups  []*group
	shared  map[string]uint32 // groups by what they are made of
}

// groupKey selects the group of a class.
type groupKey struct {
	direction event.Direction
	column    uint16
}

// Classes makes an empty Classes of k.
func (k *Kernel) Classes() *Classes {
	return &Classes{kernel: k, ids: map[string]ClassID{}, classes: make([]map[groupKey]uint32, 1), shared: map[string]uint32{}}
}

// Of is the class of a subject, compiled when it is the first of it. It reads
// Process and Ancestors of f only.
func (c *Classes) Of(f *rule.Facts) (ClassID, error) {
	s := c.kernel.judge(f)
	key := s.key()
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := c.ids[key]; ok {
		return id, nil
	}
	if len(c.classes) > MaxClasses {
		return 0, ErrFull
	}
	groups, err := c.compile(s)
	if err != nil {
		return 0, err
	}
	id := ClassID(len(c.classes))
	c.ids[key], c.classes = id, append(c.classes, groups)
	return id, nil
}

// Len is how many classes and groups there are.
func (c *Classes) Len() (classes, groups int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.classes) - 1, len(c.groups)
}

// standing is what is known of a subject: of each rule's match, of its
// exceptions, and of the confine entries.
type standing struct {
	rules   []tri
	except  [][]tri
	confine []tri
}

func (k *Kernel) judge(f *rule.Facts) standing {
	s := standing{rules: make([]tri, len(k.rules)), except: make([][]tri, len(k.rules)), confine: make([]tri, len(k.confine))}
	for i := range k.rules {
		r := &k.rules[i]
		s.rules[i] = judge(r.match.process, f, 0)
		if s.rules[i] == no {
			continue
		}
		s.except[i] = make([]tri, len(r.except))
		for j := range r.except {
			s.except[i][j] = judge(r.except[j].process, f, 0)
		}
	}
	for i := range k.confine {
		clause := &k.confine[i].clause
		s.confine[i] = judge(clause.Match.conds, f, 0)
		for _, except := range clause.Except {
			s.confine[i] = min(s.confine[i], not(judge(except.conds, f, 0)))
		}
	}
	return s
}

func not(t tri) tri { return yes - t }

func (s *standing) key() string {
	key := make([]byte, 0, len(s.rules)+len(s.confine))
	for i, known := range s.rules {
		key = append(key, byte(known))
		for _, except := range s.except[i] {
			key = append(key, byte(except))
		}
	}
	for _, known := range s.confine {
		key = append(key, byte(known))
	}
	return string(key)
}

// compile makes the groups of a class.
func (c *Classes) compile(s standing) (map[groupKey]uint32, error) {
	groups := map[groupKey]uint32{}
	for _, d := range []event.Direction{event.Out, event.In, event.Listen} {
		for column := range len(c.kernel.columns) + 1 {
			k := groupKey{d, uint16(column)}
			b := c.kernel.builder(s, k)
			key := b.key()
			id, ok := c.shared[key]
			if !ok {
				id = uint32(len(c.groups))
				g, err := b.build(id)
				if err != nil {
					return nil, err
				}
				c.groups, c.shared[key] = append(c.groups, g), id
			}
			groups[k] = id
		}
	}
	return groups, nil
}

// builder keeps what of a standing can match in one direction and protocol.
func (k *Kernel) builder(s standing, of groupKey) *groupBuilder {
	b := &groupBuilder{kernel: k, confine: s.confine}
	for i := range k.rules {
		r := &k.rules[i]
		if s.rules[i] == no || !r.match.in(of) {
			continue
		}
		g := groupRule{rule: r, index: i, match: b.add(&r.match, s.rules[i])}
		for j := range r.except {
			if s.except[i][j] != no && r.except[j].in(of) {
				g.except = append(g.except, b.add(&r.except[j], s.except[i][j]))
				g.which = append(g.which, j)
			}
		}
		b.rules = append(b.rules, g)
	}
	return b
}

// in reports whether m speaks of a direction and protocol.
func (m *kernelMatch) in(of groupKey) bool {
	if len(m.dirs) > 0 && !slices.Contains(m.dirs, of.direction) {
		return false
	}
	for _, columns := range m.protos {
		if !slices.Contains(columns, of.column) {
			return false
		}
	}
	return true
}

// key names what the group is made of: groups of the same key are the same.
func (b *groupBuilder) key() string {
	var key []byte
	for _, g := range b.rules {
		key = binary.AppendUvarint(key, uint64(g.index))
		key = append(key, byte(b.matches[g.match].subject), byte(len(g.except)))
		for i, e := range g.except {
			key = append(binary.AppendUvarint(key, uint64(g.which[i])), byte(b.matches[e].subject))
		}
	}
	key = append(key, 0xff)
	for _, known := range b.confine {
		key = append(key, byte(known))
	}
	return string(key)
}
