package table

import (
	"net/netip"
	"slices"

	"snitch/policy/rule"
)

// addresses sorts every address into a cell: the addresses of a cell are in
// the same nets, lists and scopes, so no rule tells them apart. An atom is one
// net, list or scope that a rule names.
type addresses struct {
	atoms map[atom]int32
	trie  lpm[uint32]
	cells [][]int32  // by cell: its atoms, sorted; cell 0 has none
	in    [][]uint32 // by atom: the cells that have it
}

type atom struct {
	net   netip.Prefix
	list  *rule.List
	scope rule.Scope
}

// noAddress is the cell of what has no address (a packet socket, the unbound
// end of a connection) and of addresses that no rule speaks of.
const noAddress = 0

// scopeNets are the prefixes of the scopes; ScopeInternet is what they leave.
var scopeNets = [...][]string{
	rule.ScopeLoopback: {"127.0.0.0/8", "::1/128"},
	rule.ScopeLAN: {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "224.0.0.0/4",
		"255.255.255.255/32", "fc00::/7", "fe80::/10", "ff00::/8"},
	rule.ScopeInternet: {"0.0.0.0/0", "::/0"},
}

// atom is the number of an atom, which is new when it was not asked for before.
func (a *addresses) atom(of atom) int32 {
	of.net = of.net.Masked()
	id, ok := a.atoms[of]
	if !ok {
		id = int32(len(a.atoms))
		if a.atoms == nil {
			a.atoms = map[atom]int32{}
		}
		a.atoms[of] = id
	}
	return id
}

// mark is a prefix of an atom. A scope is not nested in scopes around it: it
// takes their place.
type mark struct {
	net   netip.Prefix
	atom  int32 // -1: none, the prefix only ends the scope around it
	scope bool
}

// build makes the trie of all atoms that were asked for.
func (a *addresses) build() {
	a.cells, a.in = [][]int32{nil}, make([][]uint32, len(a.atoms))
	var four, six []mark
	add := func(m mark) {
		switch {
		case m.net.Addr().Is4():
			four = append(four, m)
		case !m.net.Addr().Is4In6(): // else it holds no address: they are all unmapped
			six = append(six, m)
		}
	}
	scopes := map[rule.Scope]int32{}
	for of, id := range a.atoms {
		switch {
		case of.list != nil:
			for net := range of.list.Nets() {
				add(mark{net: net.Masked(), atom: id})
			}
		case of.scope != rule.ScopeInvalid:
			scopes[of.scope] = id
		default:
			add(mark{net: of.net, atom: id})
		}
	}
	addScopes(scopes, add)
	b := cellBuilder{addresses: a, known: map[string]uint32{"": noAddress}}
	b.family(netip.MustParsePrefix("::/0"), six)
	b.family(netip.MustParsePrefix("0.0.0.0/0"), four)
}

func addScopes(scopes map[rule.Scope]int32, add func(mark)) {
	if len(scopes) == 0 {
		return
	}
	for scope, nets := range scopeNets {
		id, ok := scopes[rule.Scope(scope)]
		if !ok {
			id = -1
		}
		for _, net := range nets {
			add(mark{net: netip.MustParsePrefix(net), atom: id, scope: true})
		}
	}
}

// cellBuilder walks the prefixes of a family from the outside inwards.
type cellBuilder struct {
	*addresses
	known map[string]uint32 // by atoms
}

// level is a prefix that is open while the walk is inside it.
type level struct {
	net   netip.Prefix
	atoms []int32 // nets and lists, sorted
	scope int32   // atom, -1 none
	cell  uint32
}

func (b *cellBuilder) family(root netip.Prefix, marks []mark) {
	slices.SortFunc(marks, func(x, y mark) int {
		if c := x.net.Addr().Compare(y.net.Addr()); c != 0 {
			return c
		}
		return x.net.Bits() - y.net.Bits()
	})
	// The root stands there even without marks: IPv4 lies inside ::/0, which
	// may have atoms that say nothing of it.
	open := []level{{net: root, scope: -1}}
	for len(marks) > 0 && marks[0].net == root {
		open[0].add(marks[0])
		marks = marks[1:]
	}
	open[0].cell = b.cell(&open[0])
	b.put(root, open[0].cell)
	for len(marks) > 0 {
		net := marks[0].net
		for !open[len(open)-1].net.Contains(net.Addr()) {
			open = open[:len(open)-1]
		}
		around := &open[len(open)-1]
		l := level{net: net, atoms: around.atoms, scope: around.scope}
		for len(marks) > 0 && marks[0].net == net {
			l.add(marks[0])
			marks = marks[1:]
		}
		l.cell = b.cell(&l)
		if l.cell != around.cell {
			b.put(net, l.cell)
		}
		open = append(open, l)
	}
}

func (l *level) add(m mark) {
	if m.scope {
		l.scope = m.atom
		return
	}
	at, ok := slices.BinarySearch(l.atoms, m.atom)
	if !ok {
		l.atoms = slices.Insert(slices.Clone(l.atoms), at, m.atom)
	}
}

// cell is the number of the cell with the atoms of l.
func (b *cellBuilder) cell(l *level) uint32 {
	atoms := l.atoms
	if l.scope >= 0 {
		at, _ := slices.BinarySearch(atoms, l.scope)
		atoms = slices.Insert(slices.Clone(atoms), at, l.scope)
	}
	key := make([]byte, 0, 64)
	for _, at := range atoms {
		key = append(key, byte(at), byte(at>>8), byte(at>>16), byte(at>>24))
	}
	id, ok := b.known[string(key)]
	if ok {
		return id
	}
	id = uint32(len(b.cells))
	b.known[string(key)] = id
	b.cells = append(b.cells, slices.Clone(atoms))
	for _, at := range atoms {
		b.in[at] = append(b.in[at], id)
	}
	return id
}

// put enters a prefix; IPv4 stands where its mapped form is.
func (b *cellBuilder) put(net netip.Prefix, cell uint32) {
	data, bits := net.Addr().As16(), net.Bits()
	if net.Addr().Is4() {
		bits += 96
	}
	b.trie.put(data[:], bits, cell)
}

// of is the cell of an address.
func (a *addresses) of(addr netip.Addr) uint32 {
	addr = plain(addr)
	if !addr.IsValid() {
		return noAddress
	}
	data := addr.As16()
	cell, _ := a.trie.get(data[:])
	return cell
}

// has reports whether one of the atoms is in the cell.
func (a *addresses) has(cell uint32, atoms []int32) bool {
	return slices.ContainsFunc(atoms, func(id int32) bool {
		_, ok := slices.BinarySearch(a.cells[cell], id)
		return ok
	})
}
