package digest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"path/filepath"
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

// errOtherLane means that a file is not to be opened in this lane.
var errOtherLane = errors.New("file belongs to another lane")

// lookup finds a path without opening the file: an O_PATH descriptor. With
// cached it never waits: errWouldWait where it would have to, or where the
// kernel cannot promise (before 5.12).
func lookup(path string, cached bool) (int, error) {
	if ownDescriptor(path) { // RESOLVE_CACHED refuses such links, which never wait
		fd, err := open(path, unix.O_PATH|unix.O_CLOEXEC)
		if err != nil {
			return -1, fmt.Errorf("find %q: %w", path, err)
		}
		return fd, nil
	}
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

// ownDescriptor reports whether path is /proc/self/fd/N.
func ownDescriptor(path string) bool {
	number, ok := strings.CutPrefix(path, "/proc/self/fd/")
	_, err := strconv.ParseUint(number, 10, 31)
	return ok && err == nil
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
		return event.HashResult{}, slowPath(path), false
	}
	defer unix.Close(handle)
	l := laneOf(handle, h.table())
	if !l.fast {
		return event.HashResult{}, l, false
	}
	o := &opened{fd: handle}
	if o.stat() != nil {
		return event.HashResult{}, l, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.cache.find(o.inode(), o.state); e != nil {
		return e.result(), fastLane, true
	}
	return event.HashResult{}, fastLane, false
}

// openImage opens the executable of a live process, if that may be done in lane
// l: a process may point its exe link at a server that does not answer.
func openImage(id event.ProcessID, l lane, t *mountTable) (*opened, lane, error) {
	handle, err := imageHandle(id)
	if err != nil {
		return nil, l, err
	}
	return openIn(handle, l, t)
}

// openScript opens the file at a path, if that may be done in lane l: the path
// may mean another file than it did when the lane was chosen.
func openScript(path string, l lane, t *mountTable) (*opened, lane, error) {
	handle, err := lookup(path, l.fast)
	if errors.Is(err, errWouldWait) {
		return nil, slowPath(path), errOtherLane
	}
	if err != nil {
		return nil, l, err
	}
	return openIn(handle, l, t)
}

// openIn makes a readable descriptor from handle, which it closes. In the fast
// lane nothing is opened that may wait: errOtherLane, and which.
func openIn(handle int, l lane, t *mountTable) (*opened, lane, error) {
	defer unix.Close(handle)
	if l.fast {
		if fit := laneOf(handle, t); !fit.fast {
			return nil, fit, errOtherLane
		}
	}
	o, err := reopen(handle, t)
	return o, l, err
}

// laneOf says where a file can be opened without harm, from a descriptor that
// is not open yet. It does not wait.
func laneOf(handle int, t *mountTable) lane {
	var st unix.Statx_t
	flags := unix.AT_EMPTY_PATH | unix.AT_STATX_DONT_SYNC
	if retry(func() error { return unix.Statx(handle, "", flags, unix.STATX_TYPE, &st) }) != nil {
		return slowLane(0)
	}
	dev := uint64(st.Dev_major)<<20 | uint64(st.Dev_minor)
	// Nobody else's files show the number of a superblock that is mounted.
	if t.prompt(dev) {
		return fastLane
	}
	if t != nil {
		if m, ok := mountOf(handle, t); ok && m.family.prompt() {
			return fastLane
		}
	}
	return slowLane(dev)
}

// slowPath is the lane for a path whose file system is not known yet: apart
// from other directories, one of which may lead to a server that is stuck.
func slowPath(path string) lane {
	hash := fnv.New64a()
	_, _ = io.WriteString(hash, filepath.Dir(path)) // never fails
	return slowLane(hash.Sum64() | 1<<63)           // no device number is that large
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
