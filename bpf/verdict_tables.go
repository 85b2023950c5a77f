package bpf

import (
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ErrVerdictTableFull says that a table of a generation has no more room: make
// a generation with larger ones.
var ErrVerdictTableFull = errors.New("kernel table is full")

// VerdictSizes are how many entries the tables of a generation may have.
type VerdictSizes struct {
	Addresses, Groups, Places, Rows uint32
}

// VerdictTables is one generation of tables. It is filled by one goroutine; what
// is put in while it is in use is seen at once, so put what is pointed to first:
// rows and places, then groups, then the subjects of the class.
type VerdictTables struct {
	maps map[string]*ebpf.Map // by the name of the outer map
}

// NewTables makes empty tables that no program sees before Stage.
func (v *Verdicts) NewTables(sizes VerdictSizes) (*VerdictTables, error) {
	t := &VerdictTables{maps: map[string]*ebpf.Map{}}
	for name, size := range map[string]uint32{"protos": 0, "sources": 0, "addresses": sizes.Addresses,
		"groups": sizes.Groups, "places": sizes.Places, "rows": sizes.Rows} {
		spec := v.spec.Maps[name].InnerMap.Copy()
		spec.Name = name
		if size > 0 {
			spec.MaxEntries = size
		}
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make table %s: %w", name, err), t.Close())
		}
		t.maps[name] = m
	}
	return t, nil
}

// Close gives the tables' descriptors back; a generation in use stays in the
// kernel until its slot is filled anew.
func (t *VerdictTables) Close() error {
	var errs []error
	for _, m := range t.maps {
		errs = append(errs, m.Close())
	}
	clear(t.maps)
	return errors.Join(errs...)
}

// PutProtos sets the column of protocols, by IPPROTO number or one of
// VerdictProtoPacket and its kin; others have 0.
func (t *VerdictTables) PutProtos(columns iter.Seq2[uint32, uint32]) error {
	return putAll(t.maps["protos"], "protocol", columns)
}

// PutSources sets the cell of ports.
func (t *VerdictTables) PutSources(cells iter.Seq2[uint32, uint32]) error {
	return putAll(t.maps["sources"], "port", cells)
}

// PutAddresses sets the cell of networks.
func (t *VerdictTables) PutAddresses(cells iter.Seq2[VerdictAddressKey, uint32]) error {
	return putAll(t.maps["addresses"], "address", cells)
}

// PutGroups sets the groups of classes.
func (t *VerdictTables) PutGroups(groups iter.Seq2[VerdictGroupKey, VerdictGroup]) error {
	return putAll(t.maps["groups"], "group", groups)
}

// PutPlaces sets the places of groups.
func (t *VerdictTables) PutPlaces(places iter.Seq2[VerdictPlaceKey, uint32]) error {
	return putAll(t.maps["places"], "place", places)
}

// PutRows sets the entries of groups.
func (t *VerdictTables) PutRows(rows iter.Seq2[VerdictRowKey, VerdictEntry]) error {
	return putAll(t.maps["rows"], "row", rows)
}

// putBatch is how many entries one system call takes.
const putBatch = 4096

func putAll[K, V any](m *ebpf.Map, what string, entries iter.Seq2[K, V]) error {
	var keys []K
	var values []V
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		_, err := m.BatchUpdate(keys, values, nil)
		if errors.Is(err, ebpf.ErrNotSupported) {
			err = nil
			for i := range keys {
				if err = m.Put(&keys[i], &values[i]); err != nil {
					break
				}
			}
		}
		keys, values = keys[:0], values[:0]
		return putError(what, err)
	}
	for k, value := range entries {
		keys, values = append(keys, k), append(values, value)
		if len(keys) == putBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func putError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.E2BIG), errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("put %s: %w", what, ErrVerdictTableFull)
	}
	return fmt.Errorf("put %s: %w", what, err)
}

// NextGeneration is the number that Stage will give: in the slot that is not in
// use, and never one that was given before, also by an earlier process and to
// tables that were not flipped to: programs remember what the tables of a number
// said, and subjects their class in them.
func (v *Verdicts) NextGeneration() uint32 {
	used := v.Generation()
	next := max(used, atomic.LoadUint32(&v.page.Staged)) + 1
	if next&1 == used&1 {
		next++
	}
	return next
}

// Stage puts tables, and the class of the kernel's own sockets in them, into the
// slot that is not in use, and returns their generation. Write subjects for it,
// then Flip.
func (v *Verdicts) Stage(t *VerdictTables, kernelClass uint32) (generation uint32, err error) {
	generation = v.NextGeneration()
	slot := generation & 1
	// Each update waits a grace period of the kernel: wait for all at once.
	var waiting sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for name, m := range t.maps {
		waiting.Go(func() {
			if err := v.coll.Maps[name].Put(slot, m); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("stage %s: %w", name, err))
			}
		})
	}
	waiting.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	atomic.StoreUint32(&v.page.KernelClass[slot], kernelClass)
	atomic.StoreUint32(&v.page.Staged, generation)
	return generation, nil
}

// Flip makes a staged generation the one in use, with a single store, and waits
// until no program uses the old one any more.
func (v *Verdicts) Flip(generation uint32, t *VerdictTables) error {
	atomic.StoreUint32(&v.page.Generation, generation)
	// The update of an outer map returns after a grace period of the kernel.
	if err := v.coll.Maps["protos"].Put(generation&1, t.maps["protos"]); err != nil {
		return fmt.Errorf("wait for the old tables: %w", err)
	}
	return nil
}
