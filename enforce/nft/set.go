package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
)

// interval is a run of values, both ends included, of 2, 4 or 16 bytes in
// network order.
type interval struct{ first, last string }

// set is a named set of the table. Sets of the same content are one set.
type set struct {
	name  string
	kind  nftables.SetDatatype
	items []interval // sorted, neither overlapping nor touching
}

// intervals makes a set's items of any intervals of one width.
func intervals(in []interval) []interval {
	slices.SortFunc(in, func(a, b interval) int { return strings.Compare(a.first, b.first) })
	var out []interval
	for _, i := range in {
		if n := len(out); n > 0 && (out[n-1].last >= i.first || next(out[n-1].last) == i.first) {
			out[n-1].last = max(out[n-1].last, i.last)
			continue
		}
		out = append(out, i)
	}
	return out
}

// next is the value behind v, "" behind the last one.
func next(v string) string {
	b := []byte(v)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return string(b)
		}
	}
	return ""
}

func prefixInterval(p netip.Prefix) interval {
	first := p.Masked().Addr().AsSlice()
	last := slices.Clone(first)
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return interval{string(first), string(last)}
}

func portInterval(first, last uint16) interval {
	return interval{string(binary.BigEndian.AppendUint16(nil, first)), string(binary.BigEndian.AppendUint16(nil, last))}
}

func uidInterval(first, last uint32) interval {
	return interval{string(binary.BigEndian.AppendUint32(nil, first)), string(binary.BigEndian.AppendUint32(nil, last))}
}

// elements is the form in which the kernel takes intervals: where one begins,
// and where the next value is outside again.
func (s *set) elements() []nftables.SetElement {
	out := make([]nftables.SetElement, 0, 2*len(s.items))
	for _, i := range s.items {
		out = append(out, nftables.SetElement{Key: []byte(i.first)})
		if end := next(i.last); end != "" {
			out = append(out, nftables.SetElement{Key: []byte(end), IntervalEnd: true})
		}
	}
	return out
}

// setNamed returns the set of these intervals, which is new if there is none.
func (l *layout) setNamed(prefix string, kind nftables.SetDatatype, in []interval) string {
	items := intervals(slices.Clone(in))
	var key strings.Builder
	key.WriteString(prefix)
	for _, i := range items {
		key.WriteString(i.first)
		key.WriteString(i.last)
	}
	if name, ok := l.setOf[key.String()]; ok {
		return name
	}
	name := fmt.Sprintf("%s%d", prefix, len(l.sets)+1)
	l.setOf[key.String()] = name
	l.sets = append(l.sets, &set{name: name, kind: kind, items: items})
	return name
}
