package process

import "snitch/monitor/event"

// Snapshot takes a process that ran before the monitor did. Parents may come
// before or after their children.
func (t *Table) Snapshot(s event.Snapshot) {
	if s.ID.PID == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room()
	i := t.find(s.ID)
	if i.facts != nil && i.facts.readAt == 0 {
		return // its exec was seen: that record says more
	}
	i.started = s.ID.Start
	if i.parent == nil && s.Parent.PID != 0 {
		t.link(i, t.find(s.Parent))
	}
	t.apply(i, &s.Exec, &s)
}

// Exec takes the record of an exec.
func (t *Table) Exec(e event.Exec) {
	if e.ID.PID == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room()
	t.adopt(t.named(e))
	prev := t.earlier(e.ID)
	i, ok := t.images[e.ID]
	if !ok {
		i = &image{id: e.ID}
		if prev != nil {
			i.parent, i.sure = prev.parent, prev.sure
		}
		t.add(i)
	}
	i.started = e.Boot
	if prev != nil {
		t.correct(prev, e.Boot)
	}
	t.enter(i, e.Boot)
	if i.parent == nil && e.Parent.PID != 0 {
		t.link(i, t.known(e.Parent))
	}
	t.apply(i, &e, nil)
}

// before is the id of the image that became id by its exec.
func before(id event.ProcessID) event.ProcessID {
	id.Exec--
	return id
}

// named is the id that a guessed image of e's process gets: that of e when it
// was read after the exec, else that of the image before it.
func (t *Table) named(e event.Exec) event.ProcessID {
	cur := t.current[e.ID.PID]
	if cur != nil && (cur.facts == nil || cur.facts.readAt >= e.Boot) {
		return e.ID
	}
	return before(e.ID)
}

// correct drops facts that were read from /proc for i when it had already
// become another image.
func (t *Table) correct(i *image, boot uint64) {
	f := i.facts
	if f == nil || f.readAt == 0 || f.readAt < boot || f.void {
		return
	}
	f.void = true
	f.exe = event.Executable{Kind: event.ExecutableUnknown, Reason: event.HashUnknown}
	f.script, f.args, f.argsCut = nil, nil, false
	f.version = t.nextVersion()
	t.dirty = true
	t.loss(event.LossProcUnreadable, 1)
}

// Fork takes the record of a fork. It reads nothing: the child is what its
// parent is.
func (t *Table) Fork(f event.Fork) {
	if f.Child.PID == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room()
	var parent *image
	if f.Parent.PID != 0 {
		parent = t.known(f.Parent)
	}
	t.adopt(f.Child)
	child, ok := t.images[f.Child]
	if !ok {
		child = &image{id: f.Child, name: f.Comm, uid: f.UID, started: f.Boot}
		t.add(child)
		t.enter(child, f.Boot)
	}
	if parent == nil || parent == child || child.sure {
		return
	}
	t.link(child, parent)
	child.sure = true
	t.inherit(child, parent, f)
	t.relink(child)
}

// inherit gives a forked child what it has of its parent. What was read from
// /proc for it may already be of a later image: the parent's facts are better,
// if there are any.
func (t *Table) inherit(child, parent *image, f event.Fork) {
	read := child.facts != nil
	switch {
	case !read:
	case parent.facts.exe.Kind == event.ExecutableUnknown:
		return
	case child.facts.exe.Kind != event.ExecutableUnknown && child.facts.readAt == 0:
		return // by another record
	}
	child.facts, child.started = parent.facts, f.Boot
	if read {
		t.touch(child)
		return
	}
	child.name, child.uid, child.gid, child.cgroup = f.Comm, f.UID, parent.gid, parent.cgroup
	child.netNS, child.mountNS, child.pidNS = parent.netNS, parent.mountNS, parent.pidNS
	child.inherited = true
}

// relink gives the images of child's process that were met before this fork
// record the parent that it names.
func (t *Table) relink(child *image) {
	id := child.id
	for range maxMissed {
		id.Exec++
		if i, ok := t.images[id]; ok && !i.sure {
			t.link(i, child.parent)
			i.sure = true
		}
	}
}

// maxMissed bounds the search for other images of one process: so many execs in
// a row may go unseen.
const maxMissed = 16

// earlier returns the last image before id of the same process, if there is one.
func (t *Table) earlier(id event.ProcessID) *image {
	for range maxMissed {
		id = before(id)
		if i, ok := t.images[id]; ok {
			return i
		}
	}
	return nil
}

// Exit takes the record of a process's end.
func (t *Table) Exit(e event.Exit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	boot := max(e.Boot, 1)
	if i, ok := t.images[e.ID]; ok {
		t.end(i, boot)
	}
	// Its last exec may have been lost, or its start known to a tick only.
	if cur := t.current[e.ID.PID]; cur != nil && cur.tick() == e.ID.Start/tickNanos {
		t.end(cur, boot)
	}
}

// known returns the image of id with its facts, read from /proc if need be.
func (t *Table) known(id event.ProcessID) *image {
	i := t.find(id)
	if i.facts == nil {
		t.fill(i)
	}
	return i
}
