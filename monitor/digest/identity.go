package digest

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

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

// coarsestGrain is the coarsest grain of a file system that stores no fractions
// (two seconds on FAT).
const coarsestGrain = 2 * time.Second

// racy reports whether a write that happens after the moment now could leave
// this ctime as it is. now is of the clock that the kernel stamps files with.
// A ctime in the future (the clock was set back) will be the present once more.
func racy(ctime int64, now time.Time) bool {
	age := now.Sub(time.Unix(0, ctime))
	if ctime%int64(time.Second) == 0 {
		return age < coarsestGrain
	}
	return age <= 0
}

// stampClock is the clock of new timestamps: that of the last timer tick, which
// may be late without bound on a busy virtual machine. Linux 6.13 stamps more
// finely where somebody looked, never below this.
func stampClock() time.Time {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now) != nil {
		return time.Unix(0, 0) // everything is racy
	}
	return time.Unix(now.Unix())
}

// settledMargin is how late the clock of timestamps is believed to be.
const settledMargin = time.Second

// silentAge is how old a ctime has to be for fanotify to be silenced about the
// file: every execution that comes without a sighting is then later than
// settledSince, with room for the time between two looks at clocks.
const silentAge = settledMargin + settledMargin/2

// maySilence reports whether a file with this ctime is old enough at now, of
// stampClock, to need no sightings.
func maySilence(ctime int64, now time.Time) bool { return !racy(ctime, now.Add(-silentAge)) }

// settledSince is the CLOCK_BOOTTIME from which on a file with this ctime has
// one content only. Before it the file could be written, or its inode number be
// given to another file, without a new ctime: who saw that state then need not
// have seen the content that it has later.
func settledSince(ctime int64) uint64 {
	wall := time.Now() // first: a delay before the other clock errs to the safe side
	boot := bootNow()
	if boot == math.MaxUint64 {
		return boot
	}
	since := int64(boot) - int64(wall.Sub(time.Unix(0, ctime))) + int64(settledMargin)
	if ctime%int64(time.Second) == 0 {
		since += int64(coarsestGrain)
	}
	return uint64(max(since, 0))
}

// bootNow reads CLOCK_BOOTTIME; the end of time when there is no such clock.
func bootNow() uint64 {
	var boot unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return math.MaxUint64
	}
	return uint64(boot.Nano())
}

// executedAt is when req's file was executed, or a time before that; 0 when
// nothing is known.
func executedAt(req event.HashRequest) uint64 {
	if req.Boot != 0 {
		return req.Boot
	}
	return req.ID.Start
}

// young reports whether req's file may have taken its number and times over
// from another one that was executed before.
func young(req event.HashRequest) bool { return executedAt(req) <= settledSince(req.File.Ctime) }

// identifies reports whether o, which compare found to be the same as req's
// file, can be no other one that looked alike.
func identifies(req event.HashRequest, o *opened) bool {
	if req.File.Inode != o.number {
		return false
	}
	return !young(req) || o.unique || o.numbered && req.File.HasGeneration
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
	if f.HasGeneration && o.numbered && f.Generation != o.generation {
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
