package process

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

const (
	deletedSuffix = " (deleted)" // what the kernel appends to the path of a file whose name was removed
	memfdPrefix   = "/memfd:"
)

// place is where an open file lies.
type place struct {
	path string
	view string
	kind event.ExecutableKind
}

// locate says what an open file is called and in whose view. inside names the
// view when it is not the host's.
func (h *host) locate(fd int, s fileStat, inside string) (place, error) {
	if s.dev == h.memfd {
		link, err := linkFD(fd)
		return place{path: memfdName(link), kind: event.ExecutableMemfd}, err
	}
	name, shown, removed, err := h.called(fd, s)
	if err != nil {
		return place{}, err
	}
	if shown {
		return place{path: name, kind: event.ExecutableFile}, nil
	}
	_, ours := h.mount(s.mount)
	if removed {
		// Read after the name: it may have been removed just before that.
		if s, err = statFD(fd); err != nil {
			return place{}, err
		}
		return h.removed(name, s, ours, inside), nil
	}
	if ours { // something is mounted over it
		inside = event.ViewUnverified
	}
	return place{path: name, view: inside, kind: event.ExecutableFile}, nil
}

// removed tells a file whose name was removed from one that is named so. name
// is what the kernel shows without the suffix.
func (h *host) removed(name string, s fileStat, ours bool, inside string) place {
	switch {
	case ours:
		// The mount is the host's, so is the path; literally it is not there.
		return place{path: name, kind: event.ExecutableDeleted}
	case s.links == 0:
		return place{path: name, view: inside, kind: event.ExecutableDeleted}
	default:
		// A file of another namespace that still has a name: this one, unless
		// it was one of several.
		return place{path: name + deletedSuffix, view: inside, kind: event.ExecutableFile}
	}
}

// view names where a path belongs that the host does not show.
func view(namespace, hostNamespace uint32, container string) string {
	switch {
	case namespace == hostNamespace || namespace == 0:
		// Its own namespace is the host's, which does not show the file: it
		// came as a descriptor from a mount elsewhere, or is covered.
		return event.ViewUnverified
	case container != "":
		return "container:" + container
	}
	return fmt.Sprintf("mnt:%d", namespace)
}

// executable reads what process d executes. file is the kernel's word on it,
// zero if there is none; ok is false when /proc shows another image by now or
// nothing at all.
func (t *Table) executable(d *procDir, file event.FileID, inside string) (exe event.Executable, ok bool) {
	fd, err := openAt(d.fd, "exe", unix.O_PATH)
	if err != nil {
		return exe, false
	}
	defer closeFD(fd)
	s, err := statFD(fd)
	if err != nil || !file.IsZero() && !t.host.executed(file, s) {
		return exe, false
	}
	p, err := t.host.locate(fd, s, inside)
	if err != nil {
		return exe, false
	}
	if file.IsZero() {
		file = t.host.identity(fd, s)
	}
	return event.Executable{Path: p.path, View: p.view, Kind: p.kind, File: file}, true
}

// claim fills in the executable of a process that is gone: the path that it
// gave to execve, believed only where the host shows the very file there.
func (t *Table) claim(f *facts, e *event.Exec, inside string) {
	f.claimed = true
	f.exe = event.Executable{Path: e.Filename, View: inside, Kind: event.ExecutableFile, File: e.File}
	if e.Interp != "" {
		f.exe.Path = e.Interp
	}
	switch {
	case e.MemFD: // it was started by a descriptor: no name
		f.exe.Path, f.exe.View, f.exe.Kind = "memfd:", "", event.ExecutableMemfd
	case f.exe.Path == "":
		f.exe.Kind = event.ExecutableUnknown
	case e.Links == 0 && !e.File.IsZero():
		f.exe.Kind = event.ExecutableDeleted
	case f.exe.Path[0] != '/' || e.NodeCut || descriptorLink(f.exe.Path) != "":
		f.exe.View = event.ViewUnverified
	default:
		f.claimed = !t.verify(&f.exe)
	}
}

// verify clears the view when the host shows exe's file under its path, or did
// so until just now.
func (t *Table) verify(exe *event.Executable) bool {
	path, removed, ok := t.host.find(exe.Path, exe.File)
	if !ok {
		return false
	}
	exe.Path, exe.View, exe.Kind = path, "", event.ExecutableFile
	if removed {
		exe.Kind = event.ExecutableDeleted
	}
	return true
}

// memfdName turns "/memfd:name (deleted)" into "memfd:name".
func memfdName(link string) string {
	name := strings.TrimSuffix(link, deletedSuffix)
	if rest, ok := strings.CutPrefix(name, memfdPrefix); ok {
		return "memfd:" + rest
	}
	return name
}
