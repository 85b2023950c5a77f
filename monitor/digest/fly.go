package digest

import (
	"errors"

	"snitch/monitor/event"
)

// fly reads the file of f and answers everybody who waits for it.
func (h *Hasher) fly(f *flight) {
	g := f.seen
	if g == nil {
		if g = h.groupOf(f.file.family); g != nil {
			_ = g.watchDescriptor(f.file.fd) // refused by internal file systems
		}
	}
	const attempts = 2
	var r event.HashResult
	for range attempts {
		var settled bool
		r, settled = h.attempt(f, g)
		if r.Reason != event.HashChanged {
			h.land(f, r, settled)
			return
		}
		if f.file.stat() != nil {
			break
		}
	}
	h.land(f, r, false)
}

// attempt reads once. settled says that the state belongs to the digest for
// good. The file is armed before it is compared with itself: whatever changes
// it later also ends the silence of fanotify.
func (h *Hasher) attempt(f *flight, g *group) (r event.HashResult, settled bool) {
	file, begun, before := f.file, stampClock(), f.file.state
	sum, err := h.reader.sum(file)
	if err != nil {
		if !errors.Is(err, errTooLarge) && !errors.Is(err, errChanged) {
			h.log.Debug("file not hashed", "path", file.path, "error", err)
		}
		return event.HashResult{Reason: reasonOf(err), Path: file.path, Links: file.links}, false
	}
	settled = !racy(before.ctime, begun)
	armed := false
	if _, numbered := file.superblock(); settled && g != nil && numbered && file.family != familyStacked && maySilence(before.ctime, begun) {
		armed = g.arm(file.fd)
	}
	if err := file.stat(); err != nil || file.state != before {
		if armed {
			g.disarm(file.fd)
		}
		return event.HashResult{Reason: event.HashChanged, Path: file.path, Links: file.links}, false
	}
	if armed {
		h.mu.Lock()
		h.armed++
		h.mu.Unlock()
	}
	return event.HashResult{SHA256: sum, Reason: event.HashKnown, Path: file.path, Links: file.links}, settled
}

// land ends a flight: what may be kept is kept, and each waiter gets the result
// if the file in its final state still is the one it asked for.
func (h *Hasher) land(f *flight, r event.HashResult, settled bool) {
	t := h.table()
	h.mu.Lock()
	delete(h.flights, f.key)
	f.over, f.result = true, r
	f.shown = *f.file
	f.shown.fd = -1
	waiting := f.waiters
	f.waiters = nil
	if settled && !h.closed {
		h.keep(f.file, r, waiting, t)
	}
	h.mu.Unlock()
	f.file.close()
	for _, w := range waiting {
		h.finish(w, h.resultFor(w, f, r, t))
	}
}

// keep makes the entry for a finished read. Callers hold mu.
func (h *Hasher) keep(file *opened, r event.HashResult, waiting []*waiter, t *mountTable) {
	var names []inode
	for _, w := range waiting {
		if id := w.req.File; !id.IsZero() && trusted(file, id, t) && compare(id, file, t) == same {
			names = append(names, inodeOf(w.req.File))
		}
	}
	if !file.believed() && len(names) == 0 {
		return
	}
	e := h.cache.put(file.inode(), file.state, knowledge{digest: r.SHA256, path: file.path, links: file.links})
	if dev, ok := file.superblock(); ok && file.family != familyStacked {
		h.cache.alias(e, inode{dev: dev, number: file.number, kernel: true})
	}
	for _, name := range names {
		h.cache.alias(e, name)
	}
	e.armed = true // may be: an unneeded flush costs little
}

// resultFor is r, unless the file turned into another one during the read.
func (h *Hasher) resultFor(w *waiter, f *flight, r event.HashResult, t *mountTable) event.HashResult {
	if r.Reason != event.HashKnown || w.path != "" || h.isImage(w, f.file, t) {
		return r
	}
	return event.HashResult{Reason: event.HashChanged, Path: r.Path, Links: r.Links}
}

// forgotten is told of each entry that the bound pushed out. Fanotify must
// speak about executions of it again, and nobody holds a descriptor to say so
// for this file alone: all silence ends. Callers hold mu.
func (h *Hasher) forgotten(e *entry) {
	if e.armed && h.armed > 0 {
		h.disarmAll()
	}
}

// disarmAll ends all silence; each file is armed again at its next execution.
// Callers hold mu.
func (h *Hasher) disarmAll() {
	h.armed = 0
	for _, g := range h.groups {
		g.disarmAll()
	}
}

// dropCache forgets every digest.
func (h *Hasher) dropCache() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count.invalidations.Add(uint64(h.cache.clear()))
	h.disarmAll()
}
