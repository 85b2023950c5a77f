package process

import (
	"context"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// Need says which facts of a program that is about to run are asked for: they
// take time.
type Need struct {
	Digest       bool
	Package      bool
	Script       bool // also which script it runs
	ScriptDigest bool
	// Name is the kernel's name of the process: that of the link by which the
	// program is started, which cannot be seen.
	Name bool
}

// maxComm is how much of a program's name the kernel keeps.
const maxComm = 15

// Coming is what a process will be once it runs the open file, at whose opening
// for that the kernel holds it: its lineage, accounts and cgroup are those of
// now. nil means that too little can be known: the process was not met (then
// there is more to read: met is false), the file is no program but a script that
// names one, or need asks for what nobody can see yet, as the arguments of an
// interpreter. What is
// not read before ctx ends is pending in the answer. file stays the caller's.
func (t *Table) Coming(ctx context.Context, pid uint32, file int, need Need) (p *event.Process, met bool) {
	p, open, met := t.coming(pid, file, need)
	if p == nil {
		return nil, met
	}
	if need.Digest || need.Package {
		r := t.readDigest(ctx, file)
		p.Executable.SHA256, p.Executable.Reason = r.SHA256, r.Reason
	}
	if open >= 0 {
		if need.ScriptDigest {
			p.Script = withDigest(p.Script, t.readDigest(ctx, open))
		}
		closeFD(open)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if need.Package {
		t.askOwner(&p.Executable)
	}
	t.askJudge(&p.Executable)
	return p, true
}

// coming is all but what takes time; script is an open descriptor of the
// process's script, -1 when it has none.
func (t *Table) coming(pid uint32, file int, need Need) (p *event.Process, script int, met bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room()
	d, err := openProcess(t.proc, pid, t.buf)
	if err != nil {
		return nil, -1, true // gone: nothing will run
	}
	defer d.close()
	i := t.current[pid]
	if i == nil || i.tick() != d.stat.tick {
		return nil, -1, false
	}
	t.known(i.id)
	if i.inherited {
		t.refresh(i)
	}
	st, err := statFD(file)
	if err != nil {
		return nil, -1, true
	}
	inside := view(i.mountNS, t.host.namespace, i.cgroup.Container)
	at, err := t.host.locate(file, st, inside)
	if err != nil {
		return nil, -1, true
	}
	if interpreter := shebang(t.guard, file); interpreter != "" {
		t.lines.put(pid, i.tick(), file, at, interpreter)
		return nil, -1, true
	}
	q := *t.snapshot(i)
	p = &q
	p.ID.Exec++
	p.Executable = event.Executable{Path: at.path, View: at.view, Kind: at.kind, File: t.host.identity(file, st), Reason: event.HashPending}
	p.Script, p.Args, p.ArgsCut = nil, nil, false
	p.Name = called(at.path)
	line := t.lines.take(pid, i.tick())
	switch {
	case line != nil && !need.Name && t.names(d, line.interpreter, st):
		p.Script = &event.Script{Path: line.script.path, View: line.script.view, Reason: event.HashPending}
		p.Name = called(line.script.path)
		return p, line.fd, true
	case line != nil:
		closeFD(line.fd)
	}
	if need.Name || (need.Script || need.ScriptDigest) && t.interprets(at.path) {
		return nil, -1, true
	}
	return p, -1, true
}

// called is what the kernel calls a process that runs the file.
func called(file string) string {
	base := path.Base(file)
	return base[:min(len(base), maxComm)]
}

// interprets reports whether a program may run a script that its arguments name.
func (t *Table) interprets(exe string) bool {
	for _, name := range multiCall {
		if path.Base(exe) == name {
			return true
		}
	}
	return findInterpreter(t.interpreters, exe) != nil
}

// names reports whether a "#!" line, as the process sees the file system, means
// the open file of st.
func (t *Table) names(d *procDir, interpreter string, st fileStat) bool {
	fd, err := t.openScript(program{dir: d}, interpreter)
	if err != nil {
		return false
	}
	defer closeFD(fd)
	there, err := statFD(fd)
	return err == nil && there.dev == st.dev && there.inode == st.inode
}

// readDigest reads the digest of an open file, for as long as ctx allows.
func (t *Table) readDigest(ctx context.Context, file int) event.HashResult {
	// The hasher may need the descriptor for longer than the caller has it.
	fd, err := unix.FcntlInt(uintptr(file), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return event.HashResult{Reason: event.HashUnreadable}
	}
	if t.openScripts.Add(1) > maxOpenScripts {
		t.openScripts.Add(-1)
		closeFD(fd)
		return event.HashResult{Reason: event.HashBusy}
	}
	closing := func() {
		closeFD(fd)
		t.openScripts.Add(-1)
	}
	answers := make(chan event.HashResult, 2)
	r, ok := t.hasher.File("/proc/self/fd/"+strconv.Itoa(fd), func(r event.HashResult) {
		if r.Reason != event.HashDeadline { // else it is still being read
			closing()
		}
		answers <- r
	})
	if ok {
		closing()
		return r
	}
	select {
	case r := <-answers:
		return r
	case <-ctx.Done():
		return event.HashResult{Reason: event.HashPending}
	}
}
