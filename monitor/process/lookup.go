package process

import (
	"maps"
	"slices"

	"snitch/monitor/event"
)

// retryNanos is how long the answer "the queue is full" stands.
const retryNanos = 1_000_000_000

// Lookup returns what is known of id, never nil. An id that no record named is
// read from /proc if its process runs; if not, the answer says that it is
// unknown, which is counted. The id of nobody (PID 0) is the kernel itself.
func (t *Table) Lookup(id event.ProcessID) *event.Process {
	if id.PID == 0 {
		return t.kernel
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room()
	t.receive()
	i := t.known(id)
	if i.inherited {
		t.refresh(i)
	}
	t.retry(i)
	p := t.snapshot(i)
	if i.announced == nil {
		i.announced = p
		t.announced[i] = struct{}{}
	}
	return p
}

// Running is Lookup of an image that runs; false when it has ended, or was never
// met.
func (t *Table) Running(id event.ProcessID) (*event.Process, bool) {
	t.mu.Lock()
	i, ok := t.images[id]
	ok = ok && i.ended == 0
	t.mu.Unlock()
	if !ok {
		return nil, false
	}
	return t.Lookup(id), true
}

// Living returns what is known of every process that runs, as Lookup does for
// one.
func (t *Table) Living() []*event.Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room()
	t.receive()
	out := make([]*event.Process, 0, len(t.current))
	for _, i := range slices.Collect(maps.Values(t.current)) { // filling one in may find others
		p := t.snapshot(i)
		if i.announced == nil {
			i.announced = p
			t.announced[i] = struct{}{}
		}
		out = append(out, p)
	}
	return out
}

// Changed returns new snapshots of the processes that Lookup has given out and
// whose facts, or whose ancestors' facts, arrived or were corrected since they
// were last given out by Changed or first by Lookup.
func (t *Table) Changed() []*event.Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room()
	t.receive()
	if !t.dirty {
		return nil
	}
	t.dirty = false
	var out []*event.Process
	for i := range t.announced {
		if p := t.snapshot(i); p != i.announced {
			i.announced = p
			out = append(out, p)
		}
	}
	return out
}

// refresh reads what may have changed between the fork and now, for an image
// that is of interest: a clone may have other namespaces than its parent.
func (t *Table) refresh(i *image) {
	i.inherited = false
	if i.ended != 0 {
		return
	}
	d, err := openImage(t.proc, i.id, t.buf)
	if err != nil {
		return
	}
	defer d.close()
	i.name = d.stat.comm
	t.surroundings(i, d)
	i.version = t.nextVersion()
}

// retry asks again for a digest that found the hasher's queue full.
func (t *Table) retry(i *image) {
	f := i.facts
	if f.exe.Reason != event.HashBusy || i.ended != 0 {
		return
	}
	now := bootNow()
	if now-f.askedAt < retryNanos {
		return
	}
	t.hashExecutable(i)
	f.version = t.nextVersion()
	t.dirty = true
}
