package table

import (
	"iter"
	"slices"
)

// lpm is a BPF_MAP_TYPE_LPM_TRIE in Go: of the entries whose first bits are
// those of the key, the longest.
type lpm[V any] struct {
	entries map[lpmKey]V
	lengths []int // that occur, longest first
}

// maxLPM is the longest key, in bytes.
const maxLPM = 16

type lpmKey struct {
	bits int
	data [maxLPM]byte // zero behind bits
}

func makeLPMKey(data []byte, bits int) lpmKey {
	k := lpmKey{bits: bits}
	copy(k.data[:], data[:(bits+7)/8])
	if rest := bits % 8; rest != 0 {
		k.data[bits/8] &= 0xff << (8 - rest)
	}
	return k
}

func (l *lpm[V]) put(data []byte, bits int, v V) {
	if l.entries == nil {
		l.entries = map[lpmKey]V{}
	}
	l.entries[makeLPMKey(data, bits)] = v
	at, ok := slices.BinarySearchFunc(l.lengths, bits, func(a, b int) int { return b - a })
	if !ok {
		l.lengths = slices.Insert(l.lengths, at, bits)
	}
}

func (l *lpm[V]) get(data []byte) (v V, ok bool) {
	for _, bits := range l.lengths {
		if v, ok = l.entries[makeLPMKey(data, bits)]; ok {
			return v, true
		}
	}
	return v, false
}

// all yields the entries as keys of the kernel: length in bits, then data of
// size bytes. The order is not fixed.
func (l *lpm[V]) all(size int) iter.Seq2[Prefix, V] {
	return func(yield func(Prefix, V) bool) {
		for k, v := range l.entries {
			if !yield(Prefix{Bits: k.bits, Data: k.data[:size:size]}, v) {
				return
			}
		}
	}
}

// Prefix is the key of an entry of a longest-prefix-match trie.
type Prefix struct {
	Bits int
	Data []byte // in network order, zero behind Bits
}
