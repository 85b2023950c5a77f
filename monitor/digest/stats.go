package digest

import (
	"math/bits"
	"strings"

	"snitch/monitor/event"
)

// Stats is how a Hasher does. Counters run from New.
type Stats struct {
	Entries       int    // digests kept
	Pending       int    // requests without a final answer
	Busy          int    // reads under way
	Hits          uint64 // requests answered at once
	Misses        uint64
	Sightings     uint64 // executions that fanotify handed over
	Discarded     uint64 // of those, not read because too many reads waited
	Missed        uint64 // fanotify events whose file could not be opened
	Invalidations uint64 // entries dropped because the file was written to
	Overflows     uint64 // times that fanotify's queue was full and everything was dropped
	Bytes         uint64 // read and hashed
	Deadlines     uint64 // provisional answers HashDeadline
	Final         map[event.HashReason]uint64
	Fanotify      string // "active", "active without ignore marks", or why not
}

// Stats is a snapshot; its fields may be apart by what happens meanwhile.
func (h *Hasher) Stats() Stats {
	c := &h.count
	s := Stats{
		Busy: h.pool.busy(), Hits: c.hits.Load(), Misses: c.misses.Load(),
		Sightings: c.sightings.Load(), Discarded: c.discarded.Load(), Missed: c.missed.Load(),
		Invalidations: c.invalidations.Load(), Overflows: c.overflows.Load(),
		Bytes: h.reader.bytes.Load(), Deadlines: c.deadlines.Load(),
		Final: make(map[event.HashReason]uint64),
	}
	for i := range c.reasons {
		if n := c.reasons[i].Load(); n > 0 {
			s.Final[event.HashReason(i)] = n
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Entries, s.Pending, s.Fanotify = h.cache.len(), len(h.waiters), h.fanotifyState()
	return s
}

// fanotifyState is for people. Callers hold mu.
func (h *Hasher) fanotifyState() string {
	switch {
	case h.noGroups != "":
		return h.noGroups
	case h.closed:
		return "closed"
	case bits.OnesCount8(h.parking.gates) < len(h.groups):
		return "not read yet"
	}
	var without []string
	for _, g := range h.groups {
		if !g.evictable {
			without = append(without, g.name)
		}
	}
	if len(without) > 0 {
		return "active, without ignore marks on " + strings.Join(without, " and ") + " (need Linux 5.19)"
	}
	return "active"
}

// MountPoints are where the file systems are mounted that answer promptly, one
// for each that the host shows.
func (h *Hasher) MountPoints() []string { return h.table().points() }
