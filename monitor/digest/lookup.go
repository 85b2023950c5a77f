package digest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// resolveCached is RESOLVE_CACHED (5.12), which x/sys does not name.
const resolveCached = 0x20

// maxPath is PATH_MAX.
const maxPath = 4096

// errWouldWait means that a lookup could have waited for a file system.
var errWouldWait = errors.New("path is not in the kernel's cache")

// lookup finds a path without opening the file: an O_PATH descriptor. With
// cached it never waits: errWouldWait where it would have to, or where the
// kernel cannot promise (before 5.12).
func lookup(path string, cached bool) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}
	base := unix.AT_FDCWD
	if root, rest, ok := splitRoot(path); ok {
		fd, err := open(root, unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY)
		if err != nil {
			return -1, fmt.Errorf("find %q: %w", root, err)
		}
		defer unix.Close(fd)
		// Absolute links in there mean the process's root, not ours.
		base, path, how.Resolve = fd, rest, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS
	}
	if cached {
		how.Resolve |= resolveCached
	}
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat2(base, path, &how)
		return err
	})
	switch {
	case err == nil:
		return fd, nil
	case cached && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINVAL)):
		return -1, errWouldWait
	}
	return -1, fmt.Errorf("find %q: %w", path, err)
}

// splitRoot cuts "/proc/PID/root" from a path.
func splitRoot(path string) (root, rest string, ok bool) {
	tail, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return "", "", false
	}
	pid, tail, ok := strings.Cut(tail, "/")
	if _, err := strconv.ParseUint(pid, 10, 32); err != nil || !ok {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(tail, "root/")
	if !ok || rest == "" {
		return "", "", false
	}
	return "/proc/" + pid + "/root", rest, true
}

// peek answers for a script that is known, without waiting for any file
// system; else it says in which lane to look.
func (h *Hasher) peek(path string) (event.HashResult, lane, bool) {
	handle, err := lookup(path, true)
	if err != nil {
		return event.HashResult{}, slowLane(0), false
	}
	defer unix.Close(handle)
	t := h.table()
	if t == nil {
		return event.HashResult{}, slowLane(0), false
	}
	m, ok := mountOf(handle, t)
	if !ok || !m.family.prompt() {
		return event.HashResult{}, slowLane(m.dev), false
	}
	o := &opened{fd: handle}
	if o.stat() != nil {
		return event.HashResult{}, fastLane, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.cache.find(o.inode(), o.state); e != nil {
		return e.result(), fastLane, true
	}
	return event.HashResult{}, fastLane, false
}

// openSame opens the path hint of a process that is gone, if the file there is
// the one of the exec event: same superblock, inode and times. It never waits.
func openSame(path string, f event.FileID, t *mountTable) (*opened, error) {
	if f.IsZero() || !strings.HasPrefix(path, "/") || len(path) >= maxPath || t == nil {
		return nil, errGone
	}
	handle, err := lookup(path, true)
	if err != nil {
		return nil, errGone
	}
	defer unix.Close(handle)
	m, ok := mountOf(handle, t)
	if !ok || m.dev != f.Dev || !m.family.prompt() {
		return nil, errGone
	}
	o, err := reopen(handle, t)
	if err != nil {
		return nil, errGone
	}
	if compare(f, o, t) != same {
		o.close()
		return nil, errGone
	}
	return o, nil
}
