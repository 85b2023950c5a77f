package digest

import (
	"time"

	"snitch/monitor/event"
)

// inode names a file on a superblock. stat's and the kernel's device numbers
// are different spaces: a number of one must never meet the other.
type inode struct {
	dev    uint64
	number uint64
	kernel bool // dev is the superblock's, else stat's
}

// state is one state of the content of an inode, as far as the kernel tells.
type state struct {
	size  int64
	mtime int64 // ns since 1970
	ctime int64 // ns since 1970
}

func stateOf(f event.FileID) state { return state{size: f.Size, mtime: f.Mtime, ctime: f.Ctime} }

func inodeOf(f event.FileID) inode { return inode{dev: f.Dev, number: f.Inode, kernel: true} }

// Windows in which one more write may leave ctime as it is. Kernels before 6.13
// stamp with the timer tick, at most 10 ms; a ctime of whole seconds comes from
// a file system that stores no more (two seconds on FAT).
const (
	tickWindow   = 20 * time.Millisecond
	secondWindow = 2500 * time.Millisecond
)

// racy reports whether the state with this ctime may hide a change made around
// the moment now.
func racy(ctime int64, now time.Time) bool {
	window := tickWindow
	if ctime%int64(time.Second) == 0 {
		window = secondWindow
	}
	age := now.Sub(time.Unix(0, ctime))
	return age.Abs() <= window
}

// agreement says how a descriptor compares with what the kernel saw at exec.
type agreement uint8

const (
	differs   agreement = iota
	sameBytes           // everything but ctime: a name or a mode may have changed, and mtime can be forged
	same                // also ctime: the same content
)

// compare holds the opened file o against f. The table may be nil.
func compare(f event.FileID, o *opened, t *mountTable) agreement {
	if f.IsZero() {
		return same
	}
	if f.Size != o.state.size || f.Mtime != o.state.mtime {
		return differs
	}
	// An overlay may number its inodes unlike stat.
	if f.Inode != o.number && o.family != familyStacked {
		return differs
	}
	if dev, ok := o.superblock(); ok && dev != f.Dev {
		return differs
	}
	if !sameFamily(t.family(f.Dev), o.family) {
		return differs
	}
	if f.Ctime != o.state.ctime {
		return sameBytes
	}
	return same
}

// vouches reports whether the superblock of f is known never to lie about
// times: then equal states are equal content, also later.
func (t *mountTable) vouches(f event.FileID) bool {
	if listed := t.family(f.Dev); listed != familyUnknown {
		return listed.believed() || listed == familyStacked
	}
	return f.Dev != 0 && !anonymous(f.Dev)
}

// sameFamily compares what the mount table says of a superblock with what
// statfs says of a file. virtiofs has the magic number of FUSE.
func sameFamily(listed, found family) bool {
	return listed == familyUnknown || found == familyUnknown || listed == found ||
		listed == familyRemote && found == familyForgeable
}

// trusted reports whether equal states of o are equal content: by its own
// family, or because id, which o was found to be the same as, names a
// superblock that the host mounted.
func trusted(o *opened, id event.FileID, t *mountTable) bool {
	if o.believed() {
		return true
	}
	if id.IsZero() || compare(id, o, t) != same {
		return false
	}
	listed := t.family(id.Dev)
	return listed == familyStacked || listed == familyRemote
}
