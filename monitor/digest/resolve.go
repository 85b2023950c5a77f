package digest

import (
	"errors"

	"snitch/monitor/event"
)

// resolve finds the executed file of w: what was sighted, else what the process
// still shows.
func (h *Hasher) resolve(w *waiter, l lane) {
	t := h.table()
	if !w.settled && h.needsAll(w.req, t) {
		h.park(w, l, h.resolve)
		return
	}
	if h.joinSighting(w, t, false) {
		return
	}
	o, fit, err := openImage(w.req.ID, l, t)
	switch {
	case errors.Is(err, errOtherLane):
		h.again(w, fit, h.resolve)
		return
	case err == nil && h.isImage(w, o, t) && !mayBeAnother(w.req, o, t):
		h.join(w, o, l, t)
		return
	case err == nil: // another image by now
		o.close()
		err = errGone
	}
	switch {
	case !errors.Is(err, errGone):
		h.finish(w, event.HashResult{Reason: reasonOf(err)})
	case w.settled:
		h.lastResort(w, l)
	default:
		h.park(w, fastLane, h.lastResort)
	}
}

// mayBeAnother reports whether the process of req may have gone on to o from a
// file that looked alike; there was no sighting to tell.
func mayBeAnother(req event.HashRequest, o *opened, t *mountTable) bool {
	return req.Boot != 0 && young(req) && t.vouches(req.File) && !identifies(req, o)
}

// needsAll reports whether req may be answered from a sighting only when none
// is missing: its file looks like another one that its process executed before,
// or could.
func (h *Hasher) needsAll(req event.HashRequest, t *mountTable) bool {
	return !req.File.IsZero() && t.vouches(req.File) && (young(req) || t.family(req.File.Dev) == familyStacked)
}

// again repeats a step in another lane.
func (h *Hasher) again(w *waiter, l lane, step func(*waiter, lane)) {
	if !h.pool.add(l, func() { step(w, l) }) {
		h.finish(w, event.HashResult{Reason: event.HashBusy})
	}
}

// isImage reports whether o holds what w's process executed. An executable
// that lost a name or was given another mode has a new ctime: as long as its
// process lives, the kernel lets nobody write to it, so it still is the same.
func (h *Hasher) isImage(w *waiter, o *opened, t *mountTable) bool {
	switch compare(w.req.File, o, t) {
	case same:
		return true
	case sameBytes:
		return h.protected && o.family != familyForgeable && o.family != familyUnknown && running(w.req.ID)
	}
	return false
}

// lastResort answers for a process that is gone: by now every sighting is in.
func (h *Hasher) lastResort(w *waiter, _ lane) {
	t := h.table()
	if h.joinSighting(w, t, true) {
		return
	}
	if r, ok := h.known(w.req); ok {
		h.finish(w, r)
		return
	}
	o, err := openSame(w.req.Path, w.req.File, t)
	if err == nil && young(w.req) {
		o.close()
		err = errGone
	}
	if err != nil {
		h.finish(w, event.HashResult{Reason: event.HashVanished})
		return
	}
	h.join(w, o, fastLane, t)
}

// resolveScript finds the file behind a path.
func (h *Hasher) resolveScript(w *waiter, l lane) {
	t := h.table()
	o, fit, err := openScript(w.path, l, t)
	switch {
	case errors.Is(err, errOtherLane):
		h.again(w, fit, h.resolveScript)
	case err != nil:
		h.finish(w, event.HashResult{Reason: event.HashUnreadable})
	default:
		h.join(w, o, l, t)
	}
}

// joinSighting answers w from what fanotify saw of its process, or makes it
// wait for the read that is under way. A read that gave no digest counts only
// when there is nothing else to try.
func (h *Hasher) joinSighting(w *waiter, t *mountTable, last bool) bool {
	h.mu.Lock()
	f, certain := h.sightings.find(w.req, t, w.settled && !w.late && h.gap < executedAt(w.req))
	if !certain {
		h.mu.Unlock()
		h.finish(w, event.HashResult{Reason: event.HashVanished})
		return true
	}
	if f == nil || f.over && f.result.Reason != event.HashKnown && !last {
		h.mu.Unlock()
		return false
	}
	if !f.over {
		f.waiters = append(f.waiters, w)
		h.mu.Unlock()
		return true
	}
	if f.result.Reason == event.HashKnown {
		h.learn(&f.shown, f.result, w.req.File)
	}
	h.mu.Unlock()
	h.finish(w, f.result)
	return true
}

// learn lets the next exec of the same file be answered without an open, if
// there is an entry for it. Callers hold mu and have verified that id is file.
func (h *Hasher) learn(file *opened, r event.HashResult, id event.FileID) {
	e := h.cache.find(file.inode(), file.state)
	if e != nil && e.digest == r.SHA256 && stateOf(id) == e.state {
		h.cache.alias(e, inodeOf(id))
	}
}

// join lets w have the digest of o, which it takes over: from the cache, from a
// read under way, or from a new one.
func (h *Hasher) join(w *waiter, o *opened, l lane, t *mountTable) {
	believed := trusted(o, w.req.File, t)
	h.mu.Lock()
	if e := h.cache.find(o.inode(), o.state); e != nil && believed {
		if !w.req.File.IsZero() && compare(w.req.File, o, t) == same {
			h.cache.alias(e, inodeOf(w.req.File))
		}
		r := e.result()
		h.mu.Unlock()
		r.Path, r.Links = o.path, o.links
		o.close()
		h.finish(w, r)
		return
	}
	key := flightKey{inode: o.inode(), state: o.state}
	if f := h.flights[key]; f != nil {
		f.waiters = append(f.waiters, w)
		h.mu.Unlock()
		o.close()
		return
	}
	f := newFlight(o, nil)
	f.waiters = []*waiter{w}
	h.flights[key] = f
	h.mu.Unlock()
	h.launch(f, l, believed)
}

// launch reads f's file in the lane that fits it: at once when that is where
// the caller runs.
func (h *Hasher) launch(f *flight, current lane, believed bool) {
	l := slowLane(f.file.dev)
	if f.file.family.prompt() && (believed || f.file.family != familyStacked) {
		l = fastLane
	}
	if l == current {
		h.fly(f)
		return
	}
	if !h.pool.add(l, func() { h.fly(f) }) {
		h.land(f, event.HashResult{Reason: event.HashBusy}, false)
	}
}
