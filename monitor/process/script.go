package process

import (
	"errors"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// program is what is known of an image when its script is looked for.
type program struct {
	dir       *procDir // nil when the process is gone
	inside    string   // view of paths that the host does not show
	sameMount bool     // its mount namespace is the host's
}

// scriptOf names the script that exe runs with args; interp and filename are
// the kernel's word on a "#!" line. nil means none. When file is not -1, it is
// an open descriptor (O_PATH) of the script, to be hashed and closed.
func (t *Table) scriptOf(p program, exe, filename, interp string, args []string) (s *event.Script, file int) {
	name, module := filename, false
	if interp == "" || interp == filename { // no "#!" line chose it
		if name, module = scriptArg(t.interpreters, exe, args); name == "" {
			return nil, -1
		}
	}
	if module {
		return &event.Script{Path: "-m " + name, Reason: event.HashNoFile}, -1
	}
	fd, err := t.openScript(p, name)
	if err != nil {
		return &event.Script{Path: p.absolute(name), View: p.inside, Reason: openReason(err)}, -1
	}
	st, err := statFD(fd)
	if err != nil || !st.regular { // a pipe or a terminal: code, not a file
		closeFD(fd)
		return nil, -1
	}
	at, err := t.host.locate(fd, st, p.inside)
	if err != nil {
		closeFD(fd)
		return nil, -1
	}
	if p.dir == nil { // it may have had another root
		at.view = event.ViewUnverified
	}
	return &event.Script{Path: at.path, View: at.view, Reason: event.HashPending}, fd
}

// openScript opens name as the process would, so far as that is possible: from
// its root, its working directory or its descriptors while it lives, else from
// the host's root.
func (t *Table) openScript(p program, name string) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if p.dir == nil {
		if !p.sameMount || !path.IsAbs(name) || descriptorLink(name) != "" {
			return -1, unix.ESRCH
		}
		return t.guard.open(t.host.root, relative(name), how)
	}
	if link := descriptorLink(name); link != "" {
		return openAt(p.dir.fd, link, unix.O_PATH)
	}
	root, err := openAt(p.dir.fd, "root", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return -1, err
	}
	defer closeFD(root)
	return t.guard.open(root, relative(p.fromRoot(name)), how)
}

// descriptorLink turns the names of a process's own descriptors, which mean
// other files to us, into the link below /proc/PID; "" if name is none.
func descriptorLink(name string) string {
	if name == "/dev/stdin" {
		return "fd/0"
	}
	for _, prefix := range [...]string{"/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/"} {
		if number, ok := strings.CutPrefix(name, prefix); ok {
			if _, err := strconv.ParseUint(number, 10, 31); err == nil {
				return "fd/" + number
			}
		}
	}
	return ""
}

// fromRoot makes name absolute, as seen from the process's root directory. The
// name is not cleaned: ".." behind a symbolic link is not what it looks like.
func (p program) fromRoot(name string) string {
	if path.IsAbs(name) || p.dir == nil {
		return name
	}
	cwd, err := readLink(p.dir.fd, "cwd")
	if err != nil {
		return name
	}
	if root, err := readLink(p.dir.fd, "root"); err == nil && root != "/" {
		cwd = strings.TrimPrefix(cwd, root)
	}
	return cwd + "/" + name
}

// absolute is the best that can be said of a script that could not be opened.
func (p program) absolute(name string) string {
	if name = p.fromRoot(name); path.IsAbs(name) {
		return path.Clean(name)
	}
	return name
}

func openReason(err error) event.HashReason {
	switch {
	case errors.Is(err, errSlow), errors.Is(err, errRefused):
		return event.HashDeadline
	case gone(err), errors.Is(err, unix.ENOTDIR):
		return event.HashVanished
	}
	return event.HashUnreadable
}
