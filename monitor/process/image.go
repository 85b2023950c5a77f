package process

import (
	"time"

	"snitch/monitor/event"
)

// facts are what an exec decides. Forked images share their parent's.
type facts struct {
	exe     event.Executable
	script  *event.Script // immutable
	args    []string
	argsCut bool

	version uint64 // of the last change
	claimed bool   // the path is the process's word: a better one is welcome
	readAt  uint64 // boot time when they were read from /proc alone; 0: an exec record stood behind them
	void    bool   // found to belong to a later image
	askedAt uint64 // boot time of the last question for a digest
}

// image is one process image.
type image struct {
	id      event.ProcessID
	facts   *facts // nil until it is needed: only the id is known
	name    string
	uid     uint32
	gid     uint32
	cgroup  event.Cgroup
	netNS   uint32
	mountNS uint32
	pidNS   uint32
	started uint64 // boot time of this image

	parent *image
	sure   bool // a fork record named the parent
	// guessed: the start is known to a tick only, the exec number not at all.
	guessed bool
	// inherited: the parent's namespaces and cgroup were assumed at the fork.
	inherited bool
	ended     uint64 // boot time of exit or of the next exec; 0: it runs

	version   uint64         // of the last change of the fields above
	built     *event.Process // the last snapshot
	stamp     uint64         // newest version that went into it
	announced *event.Process // the snapshot that callers were last given, nil if none
	mark      int            // levels of ancestors that the current sweep keeps above it
}

func (i *image) tick() uint64 { return i.id.Start / tickNanos }

// maxDepth bounds a lineage, the process itself not counted.
const maxDepth = event.MaxAncestors

// lineage collects i and its ancestors, nearest first. truncated says that
// there are more than maxDepth.
func (i *image) lineage(out *[maxDepth + 1]*image) (n int, truncated bool) {
	for ; i != nil; i = i.parent {
		if n == len(out) {
			return n, true
		}
		out[n] = i
		n++
	}
	return n, false
}

// snapshot returns the current facts of i, the same pointer as long as nothing
// changed. The ancestors of a snapshot are snapshots too.
func (t *Table) snapshot(i *image) *event.Process {
	var line [maxDepth + 1]*image
	n, truncated := i.lineage(&line)
	for k := 0; k < n; k++ {
		if line[k].facts == nil {
			t.fill(line[k])
			// What was read may have found ancestors.
			n, truncated = i.lineage(&line)
		}
	}
	var stamp uint64
	for _, a := range line[:n] {
		stamp = max(stamp, a.version, a.facts.version)
	}
	if i.built != nil && i.stamp == stamp {
		return i.built
	}
	var parent *event.Process
	switch {
	case truncated:
		// The ancestors' own snapshots reach higher than i's may.
		for k := n - 1; k > 0; k-- {
			parent = t.render(line[k], parent)
		}
	case i.parent != nil:
		parent = t.snapshot(i.parent)
	}
	i.built, i.stamp = t.render(i, parent), stamp
	return i.built
}

func (t *Table) render(i *image, parent *event.Process) *event.Process {
	exe := i.facts.exe
	t.askOwner(&exe)
	t.askJudge(&exe)
	return &event.Process{ID: i.id, Executable: exe, Script: i.facts.script, Name: i.name, Args: i.facts.args,
		ArgsCut: i.facts.argsCut, UID: i.uid, User: t.user(i.uid), GID: i.gid, Cgroup: i.cgroup, NetNS: i.netNS, MountNS: i.mountNS, PIDNS: i.pidNS,
		Started: t.wall(i.started), Parent: parent}
}

// wall turns a boot time into wall-clock time, by the clock as it was at New:
// one image never has two start times, also when the clock is set.
func (t *Table) wall(boot uint64) time.Time {
	return t.booted.Add(time.Duration(boot))
}

// link makes parent the parent of i, unless that would close a circle: records
// that come late or were lost could otherwise make one. Images without children
// cannot.
func (t *Table) link(i, parent *image) {
	if i.parent == parent {
		return
	}
	for a, n := parent, 0; a != nil; a = a.parent {
		if a == i || n > maxLineage {
			return
		}
		n++
	}
	i.parent = parent
	t.touch(i)
}

// maxLineage bounds the search for a circle. A chain of forks is longer only
// until the next sweep cuts it.
const maxLineage = 4096

// touch says that i changed after it may have been seen.
func (t *Table) touch(i *image) {
	i.version = t.nextVersion()
	t.dirty = true
}

func (t *Table) nextVersion() uint64 {
	t.version++
	return t.version
}
