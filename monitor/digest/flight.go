package digest

import (
	"snitch/monitor/event"
)

// flightKey is what makes two reads the same read.
type flightKey struct {
	inode inode
	state state
}

// flight is one file being read, for everybody who wants it. Hasher.mu guards
// it until over; afterwards it does not change.
type flight struct {
	key     flightKey
	file    *opened // the reading task's own
	shown   opened  // what file is, for comparing: no descriptor; updated at the end
	seen    *group  // the group that handed the descriptor over, else nil
	waiters []*waiter
	over    bool
	result  event.HashResult
}

func newFlight(o *opened, seen *group) *flight {
	f := &flight{key: flightKey{inode: o.inode(), state: o.state}, file: o, shown: *o, seen: seen}
	f.shown.fd = -1
	return f
}

// sighting is one execution that fanotify saw: which process, which file. It
// keeps no descriptor: that would keep file systems from being unmounted.
type sighting struct {
	pid    uint32
	flight *flight
}

// maxSightings bounds how far back an exec event may look. Known executables
// are not sighted (fanotify ignores them), so this is many seconds of new ones.
const maxSightings = 1024

// sightings is a ring of the latest. Hasher.mu guards it.
type sightings struct {
	ring []sighting
	next int
}

func (s *sightings) add(v sighting) {
	if len(s.ring) < maxSightings {
		s.ring = append(s.ring, v)
		return
	}
	s.ring[s.next] = v
	s.next = (s.next + 1) % maxSightings
}

// find is the flight of the file that req executed, or nil. Only superblocks
// that never lie about times may be joined this way: no descriptor of the
// process itself proves the equality. complete says that all executions up to
// req's have been sighted. It is not certain when the process executed, or may
// have executed, several files that nothing tells apart: young ones that had the
// same inode number one after the other, and those of an overlay that shows
// other numbers than its superblock has.
func (s *sightings) find(req event.HashRequest, t *mountTable, complete bool) (found *flight, certain bool) {
	if req.File.IsZero() || !t.vouches(req.File) {
		return nil, true
	}
	proven, certain := false, true
	for i := range s.ring {
		v := &s.ring[i]
		if v.pid != req.ID.PID || compare(req.File, &v.flight.shown, t) != same {
			continue
		}
		proof := identifies(req, &v.flight.shown)
		switch {
		case found == nil || proof && !proven:
			found, proven, certain = v.flight, proof, true
		case proven && !proof:
		case !found.agrees(v.flight) && !(proven && !young(req)):
			certain = false
		}
	}
	if found == nil {
		return nil, true
	}
	return found, certain && (proven || complete)
}

// agrees reports whether both flights are of one content. Callers hold
// Hasher.mu.
func (f *flight) agrees(other *flight) bool {
	return f == other || f.over && other.over && f.result.Reason == other.result.Reason && f.result.SHA256 == other.result.SHA256
}
