package rule

import (
	"iter"
	"net/netip"
	"slices"
)

// List is a named list of hosts, immutable and made for millions of names: it
// is asked, not walked. A list holds no other list.
type List struct {
	Name string
	File string // relative to the directory of rules; "" for an inline one
	Pos  Position

	names nameTable
	nets  []netip.Prefix // masked, sorted, none inside another
}

// NewList makes a list of hosts, which it does not keep. Items of kind HostList
// are ignored.
func NewList(name string, hosts []Host) *List {
	var b listBuilder
	for _, h := range hosts {
		b.add(h)
	}
	return b.list(name)
}

// MatchName reports whether one of the names covers domain, which is
// normalised as Facts are. It does not allocate.
func (l *List) MatchName(domain string) bool { return l.names.match(domain) }

// MatchAddr reports whether a is in one of the networks. It does not allocate.
func (l *List) MatchAddr(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return false
	}
	// The networks are disjoint: only the last one that begins at or before a
	// can hold it.
	low, high := 0, len(l.nets) // by hand: see cells.addr
	for low < high {
		if middle := (low + high) / 2; l.nets[middle].Addr().Compare(a) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low > 0 && l.nets[low-1].Contains(a)
}

// Len is how many names and networks the list holds after normalisation.
func (l *List) Len() (names, nets int) { return l.names.count, len(l.nets) }

// Names yields the names, each once, sorted; the kind is HostName, HostBelow or
// HostSuffix. A name that stood there in two kinds is a HostSuffix.
func (l *List) Names() iter.Seq[Host] {
	return func(yield func(Host) bool) {
		for kind, name := range l.names.all {
			if !yield(Host{Kind: kind, Name: name}) {
				return
			}
		}
	}
}

// Nets yields the networks, sorted, without those that lie inside another.
func (l *List) Nets() iter.Seq[netip.Prefix] { return slices.Values(l.nets) }

// listBuilder collects the items of a list, in any order and with duplicates.
type listBuilder struct {
	names nameTable
	nets  []netip.Prefix

	address string // of the last line of a hosts file
	nowhere bool   // and whether it sends its names nowhere
}

func (b *listBuilder) add(h Host) {
	switch h.Kind {
	case HostName, HostBelow, HostSuffix:
		b.names.add(h.Kind, []byte(h.Name))
	case HostNet:
		b.nets = append(b.nets, h.Net)
	case HostInvalid, HostList:
	}
}

// list makes the list; the builder is used up.
func (b *listBuilder) list(name string) *List {
	b.names.clip()
	return &List{Name: name, names: b.names, nets: disjoint(b.nets)}
}

// disjoint sorts networks and drops those that lie inside another.
func disjoint(nets []netip.Prefix) []netip.Prefix {
	slices.SortFunc(nets, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var out []netip.Prefix
	for _, p := range nets {
		if n := len(out); n == 0 || !out[n-1].Contains(p.Addr()) {
			out = append(out, p)
		}
	}
	return slices.Clip(out)
}
