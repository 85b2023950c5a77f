package process

import (
	"cmp"
	"math"
	"slices"

	"snitch/monitor/event"
)

// sweepNanos is the shortest time between two sweeps that nobody is forced to.
const sweepNanos = 1_000_000_000

// Expire forgets images that ended longer than the grace time before nowBoot
// (ns of CLOCK_BOOTTIME) and that no remembered process has among its recorded
// ancestors. It does nothing when it was called within the last second.
func (t *Table) Expire(nowBoot uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if nowBoot < t.sweptAt+sweepNanos {
		return
	}
	t.sweptAt = nowBoot
	if nowBoot > t.grace {
		t.sweep(nowBoot - t.grace)
	}
}

// sweep drops images that ended at or before the boot time limit, but for the
// ancestors of those that stay.
func (t *Table) sweep(limit uint64) {
	for _, i := range t.images {
		i.mark = -1
	}
	for _, i := range t.images {
		if i.ended == 0 || i.ended > limit {
			i.keep()
		}
	}
	for _, i := range t.images {
		switch {
		case i.mark < 0:
			t.drop(i)
		case i.parent != nil && i.parent.mark < 0:
			i.parent = nil // beyond what anybody's lineage shows
		}
	}
}

// keep marks i and its recorded ancestors.
func (i *image) keep() {
	left := maxDepth
	for a := i; a != nil && left >= 0 && a.mark < left; a = a.parent {
		a.mark = left
		left--
	}
}

func (t *Table) drop(i *image) {
	delete(t.images, i.id)
	delete(t.announced, i)
	if t.current[i.id.PID] == i {
		delete(t.current, i.id.PID)
	}
}

// room makes place for what the next call may add. It forgets the images that
// ended first; if that is not enough, running ones, oldest first, which is
// counted: they are read from /proc again when they are met.
func (t *Table) room() {
	if len(t.images)+headroom <= t.max {
		return
	}
	goal := t.max - t.max/4 - headroom
	t.sweep(t.endedBefore(len(t.images) - goal))
	if len(t.images) > goal {
		// The ended ones that are left are ancestors of running ones.
		t.sweep(math.MaxUint64)
	}
	if excess := len(t.images) - goal; excess > 0 {
		t.forget(excess)
	}
}

// endedBefore is the time before which n images ended, or the latest end.
func (t *Table) endedBefore(n int) uint64 {
	var ends []uint64
	for _, i := range t.images {
		if i.ended != 0 {
			ends = append(ends, i.ended)
		}
	}
	if len(ends) == 0 {
		return 0
	}
	slices.Sort(ends)
	return ends[min(n, len(ends))-1]
}

// forget drops n images: first those that nobody's lineage shows and nobody
// asked for, the oldest first.
func (t *Table) forget(n int) {
	all := make([]*image, 0, len(t.images))
	for _, i := range t.images {
		all = append(all, i)
		i.mark = 0
	}
	for _, i := range all {
		if i.parent != nil {
			i.parent.mark = 1
		}
		if i.announced != nil {
			i.mark = 1
		}
	}
	slices.SortFunc(all, func(a, b *image) int {
		return cmp.Or(cmp.Compare(a.mark, b.mark), cmp.Compare(a.version, b.version))
	})
	var running uint64
	for _, i := range all[:n] {
		i.mark = -1
		if i.ended == 0 {
			running++
		}
		t.drop(i)
	}
	for _, i := range all[n:] {
		if i.parent != nil && i.parent.mark < 0 {
			i.parent = nil
			t.touch(i)
		}
	}
	t.loss(event.LossProcessTable, running)
}
