package rule

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
)

// nameTable is a set of names in two flat pieces, so that a million of them
// cost about 40 bytes each and the garbage collector sees two objects. An entry
// of text is one byte of bits, one byte of length and the name. slots is a hash
// table of offsets into text, plus one.
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

// add adds a name of 1 to maxName bytes, or what else it covers. The caller
// bounds the whole to less than 4 GiB (maxListFile).
func (t *nameTable) add(kind HostKind, name []byte) {
	if len(name) == 0 || len(name) > maxName {
		return
	}
	bits := byte(coversName | coversBelow)
	switch kind {
	case HostName:
		bits = coversName
	case HostBelow:
		bits = coversBelow
	}
	if 2*(t.count+1) > len(t.slots) {
		t.grow(2 * len(t.slots))
	}
	slot := t.slot(name)
	if *slot != 0 {
		t.text[*slot-1] |= bits
		return
	}
	*slot = uint32(len(t.text)) + 1
	t.text = append(t.text, bits, byte(len(name)))
	t.text = append(t.text, name...)
	t.count++
}

// slot is where the entry of name is, or would be put.
func (t *nameTable) slot(name []byte) *uint32 {
	mask := uint64(len(t.slots) - 1)
	i := maphash.Bytes(t.seed, name) & mask
	for t.slots[i] != 0 && !bytes.Equal(nameAt(t.text, t.slots[i]-1), name) {
		i = (i + 1) & mask
	}
	return &t.slots[i]
}

// grow makes room for so many slots, which it rounds up.
func (t *nameTable) grow(slots int) {
	if t.slots == nil {
		t.seed = maphash.MakeSeed()
	}
	size := 8
	for size < slots {
		size *= 2
	}
	t.slots = make([]uint32, size)
	for at := uint32(0); int(at) < len(t.text); at += 2 + uint32(t.text[at+1]) {
		*t.slot(nameAt(t.text, at)) = at + 1
	}
}

// clip gives back what adding reserved and did not need.
func (t *nameTable) clip() { t.text = slices.Clip(slices.Clone(t.text)) }

// all yields the entries, sorted by name. The sorting is done here: those who
// ask a list never need it.
func (t *nameTable) all(yield func(HostKind, string) bool) {
	starts := make([]uint32, 0, t.count)
	for at := uint32(0); int(at) < len(t.text); at += 2 + uint32(t.text[at+1]) {
		starts = append(starts, at)
	}
	slices.SortFunc(starts, func(x, y uint32) int { return bytes.Compare(nameAt(t.text, x), nameAt(t.text, y)) })
	kinds := [...]HostKind{coversName: HostName, coversBelow: HostBelow, coversName | coversBelow: HostSuffix}
	for _, at := range starts {
		if !yield(kinds[t.text[at]], string(nameAt(t.text, at))) {
			return
		}
	}
}

// digest is a number that depends on the entries and not on their order: the
// sum of their SHA-256.
func (t *nameTable) digest() [4]uint64 {
	var sum [4]uint64
	for at := 0; at < len(t.text); {
		end := at + 2 + int(t.text[at+1])
		d := sha256.Sum256(t.text[at:end])
		for i := range sum {
			sum[i] += binary.LittleEndian.Uint64(d[8*i:])
		}
		at = end
	}
	return sum
}

// size is the memory that t holds, in bytes.
func (t *nameTable) size() int { return cap(t.text) + 4*cap(t.slots) }

func nameAt(text []byte, at uint32) []byte {
	return text[at+2 : at+2+uint32(text[at+1])]
}
