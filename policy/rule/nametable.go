package rule

import (
	"bytes"
	"hash/maphash"
	"slices"
	"strings"
	"unsafe"
)

// nameTable is a set of names in two flat pieces, so that a million of them
// cost about 30 bytes each and the garbage collector sees two objects. An entry
// of text is one byte of bits, one byte of length and the name; entries are
// sorted by name. slots is a hash table of offsets into text, plus one.
type nameTable struct {
	text  []byte
	slots []uint32 // a power of two, at most half full; nil when empty
	seed  maphash.Seed
	count int
}

// What an entry covers. Both bits together are a HostSuffix.
const (
	coversName  = 1
	coversBelow = 2
)

const maxName = 253 // of a domain name in text; also what a length byte holds

// match looks up domain, then every name above it.
func (t *nameTable) match(domain string) bool {
	if t.count == 0 || domain == "" {
		return false
	}
	if t.bits(domain)&coversName != 0 {
		return true
	}
	for {
		i := strings.IndexByte(domain, '.')
		if i < 0 {
			return false
		}
		domain = domain[i+1:]
		if t.bits(domain)&coversBelow != 0 {
			return true
		}
	}
}

// bits is what the entry of name covers, 0 when there is none.
func (t *nameTable) bits(name string) byte {
	mask := uint64(len(t.slots) - 1)
	for i := maphash.String(t.seed, name) & mask; t.slots[i] != 0; i = (i + 1) & mask {
		at := t.slots[i] - 1
		if string(nameAt(t.text, at)) == name { // does not allocate
			return t.text[at]
		}
	}
	return 0
}

// all yields the entries in order.
func (t *nameTable) all(yield func(HostKind, string) bool) {
	for at := 0; at < len(t.text); {
		name := nameAt(t.text, uint32(at))
		kind := [...]HostKind{coversName: HostName, coversBelow: HostBelow, coversName | coversBelow: HostSuffix}[t.text[at]]
		if !yield(kind, string(name)) {
			return
		}
		at += 2 + len(name)
	}
}

func nameAt(text []byte, at uint32) []byte {
	return text[at+2 : at+2+uint32(text[at+1])]
}

// nameTableBuilder collects entries unsorted.
type nameTableBuilder struct {
	text []byte
	at   []uint32
}

// add takes a name of 1 to maxName bytes. The caller bounds the whole to less
// than 4 GiB (maxListFile).
func (b *nameTableBuilder) add(kind HostKind, name string) {
	if name == "" || len(name) > maxName {
		return
	}
	bits := byte(coversName | coversBelow)
	switch kind {
	case HostName:
		bits = coversName
	case HostBelow:
		bits = coversBelow
	}
	b.at = append(b.at, uint32(len(b.text)))
	b.text = append(b.text, bits, byte(len(name)))
	b.text = append(b.text, name...)
}

// table sorts, merges and indexes what was added.
func (b *nameTableBuilder) table() nameTable {
	if len(b.at) == 0 {
		return nameTable{}
	}
	slices.SortFunc(b.at, func(x, y uint32) int { return bytes.Compare(nameAt(b.text, x), nameAt(b.text, y)) })
	t := nameTable{text: make([]byte, 0, len(b.text)), seed: maphash.MakeSeed()}
	starts := b.at[:0] // where each entry of t.text begins; never overtakes the reading
	last := []byte(nil)
	for _, at := range b.at {
		name := nameAt(b.text, at)
		if last != nil && bytes.Equal(name, last) {
			t.text[starts[len(starts)-1]] |= b.text[at]
			continue
		}
		starts = append(starts, uint32(len(t.text)))
		t.text = append(t.text, b.text[at], byte(len(name)))
		t.text = append(t.text, name...)
		last = name
	}
	t.count = len(starts)
	t.index(starts)
	return t
}

func (t *nameTable) index(starts []uint32) {
	size := 4
	for size < 2*len(starts) {
		size *= 2
	}
	t.slots = make([]uint32, size)
	mask := uint64(size - 1)
	for _, at := range starts {
		i := maphash.Bytes(t.seed, nameAt(t.text, at)) & mask
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = at + 1
	}
}

// size is the memory that t holds, in bytes.
func (t *nameTable) size() int {
	return cap(t.text) + cap(t.slots)*int(unsafe.Sizeof(uint32(0)))
}
