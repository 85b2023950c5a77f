package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// drainBatch is how many entries one system call takes.
const drainBatch = 2048

// generations are two kernel hash maps that take turns in the one slot of an
// outer map. The programs only know the slot.
type generations[K, V any] struct {
	slot   *ebpf.Map
	maps   [2]*ebpf.Map
	inUse  int
	keys   []K
	values []V
}

func newGenerations[K, V any](slot *ebpf.Map, inner *ebpf.MapSpec) (*generations[K, V], error) {
	n := int(min(inner.MaxEntries, drainBatch))
	g := &generations[K, V]{slot: slot, keys: make([]K, n), values: make([]V, n)}
	for i := range g.maps {
		m, err := ebpf.NewMap(inner)
		if err != nil {
			return g, err
		}
		g.maps[i] = m
	}
	return g, slot.Put(uint32(0), g.maps[0])
}

// swap puts the other map in use and returns the old one, which no program
// touches any more: the kernel's update waits until all of them have left.
func (g *generations[K, V]) swap() (*ebpf.Map, error) {
	next := 1 - g.inUse
	if err := g.slot.Put(uint32(0), g.maps[next]); err != nil {
		return nil, err
	}
	old := g.maps[g.inUse]
	g.inUse = next
	return old, nil
}

// drain swaps, then hands over and deletes every entry of the old map.
// handle's pointers are valid only during the call.
func (g *generations[K, V]) drain(handle func(*K, *V)) error {
	old, err := g.swap()
	if err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	var cursor ebpf.MapBatchCursor
	for {
		n, err := old.BatchLookupAndDelete(&cursor, g.keys, g.values, nil)
		for i := range n {
			handle(&g.keys[i], &g.values[i])
		}
		switch {
		case err == nil:
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case n == 0 && errors.Is(err, errNoSpace) && len(g.keys) < int(old.MaxEntries()):
			// one hash bucket holds more than a batch
			g.keys, g.values = make([]K, 2*len(g.keys)), make([]V, 2*len(g.values))
		default:
			return fmt.Errorf("read: %w", err)
		}
	}
}

func (g *generations[K, V]) close() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, m := range g.maps {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}
