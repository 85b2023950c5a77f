package process

import (
	"errors"

	"snitch/monitor/event"
)

// apply gives i the facts of an exec record. snapshot is nil unless the record
// is of a process that ran before: it has no arguments then.
func (t *Table) apply(i *image, e *event.Exec, snapshot *event.Snapshot) {
	var d *procDir
	if i.ended == 0 {
		d, _ = openImage(t.proc, e.ID, t.buf) // gone already: the record has to do
	}
	if d != nil {
		defer d.close()
	}
	i.name, i.uid, i.gid, i.inherited = e.Comm, e.UID, e.GID, false
	i.netNS, i.mountNS, i.pidNS = e.NetNS, e.MountNS, e.PIDNS
	i.cgroup = t.cgroups.identify(e.CgroupID, d.hierarchies)
	f := &facts{args: e.Args, argsCut: e.ArgsCut}
	if snapshot != nil && snapshot.KernelThread {
		f.exe = event.Executable{Kind: event.ExecutableKernel, Reason: event.HashNoFile}
		t.settle(i, f)
		return
	}
	inside := view(e.MountNS, t.host.namespace, i.cgroup.Container)
	seen := false
	if d != nil {
		f.exe, seen = t.executable(d, e.File, inside)
	}
	if !seen {
		d = nil // another image by now, or unreadable: nothing of it is this one's
		t.claim(f, e, inside)
	}
	if snapshot != nil && d != nil {
		t.arguments(d, f)
	}
	t.settle(i, f)
	p := program{dir: d, inside: inside, sameMount: e.MountNS == t.host.namespace}
	t.ask(i, p, e.Filename, e.Interp)
}

// settle makes f the facts of i.
func (t *Table) settle(i *image, f *facts) {
	if i.facts != nil { // it may be in somebody's lineage
		t.dirty = true
	}
	i.facts = f
	f.version = t.nextVersion()
	i.version = f.version
	if f.exe.Kind == event.ExecutableUnknown {
		t.loss(event.LossProcUnreadable, 1)
	}
}

// ask asks for the digests of i's executable and script.
func (t *Table) ask(i *image, p program, filename, interp string) {
	f := i.facts
	t.hashExecutable(i)
	exe := f.exe.Path
	if exe == "" {
		exe = filename
	}
	var fd int
	if f.script, fd = t.scriptOf(p, exe, filename, interp, f.args); fd >= 0 {
		t.hashScript(f, fd)
	}
}

func (t *Table) arguments(d *procDir, f *facts) {
	var err error
	if f.args, f.argsCut, err = d.args(t.guard); err != nil && !gone(err) {
		t.loss(event.LossProcUnreadable, 1)
	}
}

// fill gives i what /proc shows of it now, if it still runs; else it is unknown.
func (t *Table) fill(i *image) {
	f := &facts{}
	if i.ended == 0 {
		d, err := openImage(t.proc, i.id, t.buf)
		if err == nil {
			defer d.close()
			t.read(i, f, d)
			return
		}
		if gone(err) || errors.Is(err, errOther) {
			t.end(i, bootNow())
		}
	}
	f.exe = event.Executable{Kind: event.ExecutableUnknown, Reason: event.HashUnknown}
	t.settle(i, f)
}

// read fills i from the open directory of its process.
func (t *Table) read(i *image, f *facts, d *procDir) {
	i.name, i.inherited = d.stat.comm, false
	if i.parent == nil && d.stat.parent != 0 {
		if parent := t.ancestor(d.stat.parent, i); parent != nil {
			t.link(i, parent)
		}
	}
	t.surroundings(i, d)
	if d.stat.kernel {
		f.exe = event.Executable{Kind: event.ExecutableKernel, Reason: event.HashNoFile}
		t.settle(i, f)
		return
	}
	inside := view(i.mountNS, t.host.namespace, i.cgroup.Container)
	var ok bool
	if f.exe, ok = t.executable(d, event.FileID{}, inside); !ok {
		f.exe, f.claimed = event.Executable{Kind: event.ExecutableUnknown}, true
	}
	t.arguments(d, f)
	f.readAt = bootNow()
	t.settle(i, f)
	t.ask(i, program{dir: d, inside: inside, sameMount: i.mountNS == t.host.namespace}, "", "")
}

// surroundings reads who i runs as and where. What may not be read stays as it is.
func (t *Table) surroundings(i *image, d *procDir) {
	if b, err := d.read("status"); err == nil {
		if uid, gid, err := parseStatus(b); err == nil {
			i.uid, i.gid = uid, gid
		}
	}
	for _, n := range [...]struct {
		name string
		to   *uint32
	}{{"net", &i.netNS}, {"mnt", &i.mountNS}, {"pid", &i.pidNS}} {
		if v := d.namespace(n.name); v != 0 {
			*n.to = v
		}
	}
	if g := t.cgroups.identify(0, d.hierarchies); g.Path != "" {
		i.cgroup = g
	}
}

// ancestor returns the running image of the number pid, a guessed one where it
// is not known; nil when that process began after child: the number was given
// to another one since.
func (t *Table) ancestor(pid uint32, child *image) *image {
	d, err := openProcess(t.proc, pid, make([]byte, maxStat))
	if err != nil {
		return nil
	}
	defer d.close()
	if d.stat.tick > child.tick() {
		return nil
	}
	id := event.ProcessID{PID: pid, Start: d.stat.tick * tickNanos}
	if cur := t.current[pid]; cur != nil && cur.tick() == d.stat.tick {
		return cur
	}
	i := t.find(id)
	i.guessed = true
	return i
}
