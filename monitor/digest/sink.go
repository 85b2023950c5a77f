package digest

import (
	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// patienceOfSightings is after how many executions a file is silenced although
// no request ever named it in the kernel's numbers: the ELF interpreter of a
// container is opened by every exec and asked for by nobody.
const patienceOfSightings = 8

// executed takes fanotify's word that pid executes the file fd. New files are
// read at once, from this descriptor: the process may be gone before anybody
// asks, and nearly every file that is executed is asked for.
func (h *Hasher) executed(g *group, pid uint32, fd int) {
	o, err := inspect(fd, h.mounts.current())
	if err != nil {
		return // no regular file, or gone with its file system
	}
	h.count.sightings.Add(1)
	h.mu.Lock()
	if e := h.cache.find(o.inode(), o.state); e != nil {
		r := e.result()
		r.Path, r.Links = o.path, o.links
		past := newFlight(o, g)
		past.over, past.result = true, r
		h.sightings.add(sighting{pid: pid, flight: past})
		silence := e.hasKernelKey()
		if !silence && e.sightings < patienceOfSightings {
			e.sightings++
		}
		silence = silence || e.sightings == patienceOfSightings
		h.mu.Unlock()
		if silence {
			h.silence(g, o)
		}
		o.close()
		return
	}
	f := h.flights[flightKey{inode: o.inode(), state: o.state}]
	created := f == nil && len(h.flights) < h.cfg.Queue && !h.closed
	if created {
		f = newFlight(o, g)
		h.flights[f.key] = f
	}
	if f != nil {
		h.sightings.add(sighting{pid: pid, flight: f})
	} else {
		h.count.discarded.Add(1)
		h.gap = bootNow()
	}
	h.mu.Unlock()
	if !created {
		o.close()
		return
	}
	h.launch(f, noLane, false)
}

// silence arms a file whose entry is known, unless it is young or changes
// meanwhile.
func (h *Hasher) silence(g *group, o *opened) {
	before := o.state
	if !maySilence(before.ctime, stampClock()) || !g.arm(o.fd) {
		return
	}
	now := opened{fd: o.fd} // o is shared with the sighting by now
	if now.stat() != nil || now.state != before {
		g.disarm(o.fd)
		return
	}
	h.mu.Lock()
	h.armed++
	h.mu.Unlock()
}

// changed forgets a file that is written to.
func (h *Hasher) changed(g *group, fd int) {
	var st unix.Stat_t
	if retry(func() error { return unix.Fstat(fd, &st) }) != nil {
		return
	}
	h.mu.Lock()
	dropped := h.cache.drop(inode{dev: kernelDevice(uint64(st.Dev)), number: st.Ino})
	h.mu.Unlock()
	if dropped {
		h.count.invalidations.Add(1)
	}
	g.disarm(fd)
}

// missed counts an event whose file could not be opened: its process is hashed
// from /proc or not at all. Nothing that is cached depends on it.
func (h *Hasher) missed(*group) {
	h.count.missed.Add(1)
	h.unsighted()
}

// unsighted remembers that an execution before now was not sighted.
func (h *Hasher) unsighted() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gap = bootNow()
}

// overflowed: modifications went unseen, so nothing that is cached counts.
func (h *Hasher) overflowed(*group) {
	h.count.overflows.Add(1)
	h.loss(event.LossFanotify, 1)
	h.unsighted()
	h.dropCache()
}
