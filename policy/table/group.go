package table

import (
	"fmt"
	"slices"

	"snitch/policy/rule"
)

// group is the verdicts of one class in one direction and protocol; classes
// share groups. Cells in which the group's rules see no difference are one
// place of it. It is immutable once built.
type group struct {
	id       uint32
	dims     [dimensions]dimension
	verdicts lpm[Entry]
}

// place is a point in the dimensions of a group.
type place [dimensions]uint16

// The dimensions of a group. The port of To is not one: it is the tail of the
// keys, where prefixes are.
const (
	toAddress = iota
	fromAddress
	fromPort
	dimensions
)

// dimension is where in a group the cells of one classifier lie.
type dimension struct {
	places map[uint32]uint16 // by cell; 0 are all others
	count  int
}

// groupBuilder collects what can match.
type groupBuilder struct {
	kernel  *Kernel
	matches []groupMatch
	rules   []groupRule
	confine []tri
}

// groupMatch is a match or exception with what is known of it: by the subject,
// and at the point that is looked at.
type groupMatch struct {
	*kernelMatch
	subject tri // also of novelty and countries
	at      [dimensions]tri
	port    tri
}

func (m *groupMatch) known() tri {
	return min(m.subject, m.at[toAddress], m.at[fromAddress], m.at[fromPort], m.port)
}

type groupRule struct {
	rule   *kernelRule
	index  int
	match  int // into matches
	except []int
	which  []int // numbers of the exceptions
}

func (b *groupBuilder) add(m *kernelMatch, subject tri) int {
	if m.novelty || m.to.country || m.from.country {
		subject = min(subject, unknown)
	}
	b.matches = append(b.matches, groupMatch{kernelMatch: m, subject: subject})
	return len(b.matches) - 1
}

// difference is what a place of a dimension tells of one match, where it is
// not what place 0 tells.
type difference struct {
	match int
	known tri
}

// build makes the group: the verdicts of every place.
func (b *groupBuilder) build(id uint32) (*group, error) {
	g := &group{id: id}
	var places [dimensions][][]difference
	total := 1
	for d := range places {
		g.dims[d], places[d] = b.dimension(d)
		total *= len(places[d])
	}
	if total > MaxRows {
		return nil, fmt.Errorf("make %d rows of a class, of at most %d: %w", total, MaxRows, ErrFull)
	}
	for i := range b.matches {
		m := &b.matches[i]
		m.at = [dimensions]tri{m.to.address(&b.kernel.addrs, noAddress), m.from.address(&b.kernel.addrs, noAddress), m.from.port(0, false)}
	}
	b.fill(g, places, place{}, 0)
	return g, nil
}

// fill walks all places, a dimension at a time.
func (b *groupBuilder) fill(g *group, places [dimensions][][]difference, at place, d int) {
	if d == dimensions {
		g.load(at, b.row())
		return
	}
	for i, differences := range places[d] {
		at[d] = uint16(i)
		for n := range differences {
			m := &b.matches[differences[n].match].at[d]
			*m, differences[n].known = differences[n].known, *m
		}
		b.fill(g, places, at, d+1)
		for n := range differences {
			m := &b.matches[differences[n].match].at[d]
			*m, differences[n].known = differences[n].known, *m
		}
	}
}

// dimension sorts the cells of one classifier by what they tell of the matches.
func (b *groupBuilder) dimension(d int) (dimension, [][]difference) {
	cells := map[uint32][]difference{}
	for i := range b.matches {
		b.differ(d, i, cells)
	}
	dim := dimension{places: map[uint32]uint16{}, count: 1}
	places := [][]difference{nil}
	known := map[string]uint16{}
	for _, cell := range sortedKeys(cells) {
		key := fmt.Sprint(cells[cell])
		at, ok := known[key]
		if !ok {
			at = uint16(len(places))
			known[key], places = at, append(places, cells[cell])
		}
		dim.places[cell] = at
	}
	dim.count = len(places)
	return dim, places
}

// differ notes the cells that tell something else of match i than cell 0.
func (b *groupBuilder) differ(d, i int, cells map[uint32][]difference) {
	m := &b.matches[i]
	if d == fromPort {
		base := m.from.port(0, false)
		for n, first := range b.kernel.sources.first {
			if known := m.from.port(first, true); known != base {
				cells[uint32(n+1)] = append(cells[uint32(n+1)], difference{i, known})
			}
		}
		return
	}
	e := &m.to
	if d == fromAddress {
		e = &m.from
	}
	addrs := &b.kernel.addrs
	base := e.address(addrs, noAddress)
	seen := map[uint32]bool{}
	for _, atom := range slices.Concat(e.host, e.scope) {
		for _, cell := range addrs.in[atom] {
			if seen[cell] {
				continue
			}
			seen[cell] = true
			if known := e.address(addrs, cell); known != base {
				cells[cell] = append(cells[cell], difference{i, known})
			}
		}
	}
}

func sortedKeys[V any](m map[uint32]V) []uint32 {
	keys := make([]uint32, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// row is the verdicts at one place by the port of To.
type row struct {
	portless Entry
	ports    []span // of all ports, ascending and without gap
}

// span is a run of ports with one entry.
type span struct {
	rule.PortRange
	Entry
}

// row makes the row of the place that the matches are at.
func (b *groupBuilder) row() row {
	var alive []groupRule
	firsts := []uint16{0}
	for i := range b.matches {
		b.matches[i].port = yes
	}
	for _, r := range b.rules {
		if b.matches[r.match].known() == no {
			continue
		}
		alive = append(alive, r)
		for _, i := range append([]int{r.match}, r.except...) {
			for _, p := range b.matches[i].to.ports {
				firsts = append(firsts, p.First)
				if p.Last < 65535 {
					firsts = append(firsts, p.Last+1)
				}
			}
		}
	}
	slices.Sort(firsts)
	firsts = slices.Compact(firsts)
	r := row{portless: b.entry(alive, 0, false)}
	for n, first := range firsts {
		last := uint16(65535)
		if n+1 < len(firsts) {
			last = firsts[n+1] - 1
		}
		e := b.entry(alive, first, true)
		if n := len(r.ports); n > 0 && r.ports[n-1].Entry == e {
			r.ports[n-1].Last = last
			continue
		}
		r.ports = append(r.ports, span{rule.PortRange{First: first, Last: last}, e})
	}
	return r
}

// entry is the verdict of one port.
func (b *groupBuilder) entry(rules []groupRule, port uint16, known bool) Entry {
	t := tally{custom: b.kernel.custom, stable: !b.kernel.custom}
	for _, r := range rules {
		vote := b.at(r.match, port, known)
		news := b.matches[r.match].novelty
		for _, e := range r.except {
			vote = min(vote, not(b.at(e, port, known)))
			news = news || b.matches[e].novelty
		}
		if vote == no {
			continue
		}
		t.vote(r.rule.Action, r.rule.ID, vote)
		t.expires(r.rule.Expires)
		t.stable = t.stable && !(news && vote == unknown)
	}
	for i, known := range b.confine {
		if c := &b.kernel.confine[i]; known != no {
			t.confine(c.ID, known)
			t.expires(c.Expires)
		}
	}
	return t.entry()
}

func (b *groupBuilder) at(match int, port uint16, known bool) tri {
	m := &b.matches[match]
	m.port = m.to.port(port, known)
	return m.known()
}
