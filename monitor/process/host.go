package process

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// maxMounts bounds what is read of a mount table.
const maxMounts = 4 << 20

// host is the view of the file system that paths in rules mean: that of
// process 1, or this process's own where that one may not be looked into.
type host struct {
	root      int    // O_PATH descriptor of its root directory
	namespace uint32 // inode number of its mount namespace
	memfd     uint64 // device of the kernel's own shared-memory mount
	guard     *guard

	mountinfo int // poll says when it changed
	mounts    map[uint64]mount
}

func openHost(proc int, g *guard) (*host, error) {
	h := &host{root: -1, mountinfo: -1, guard: g}
	err := h.open(proc, "1")
	if err != nil {
		err = h.open(proc, "self")
	}
	if err == nil {
		h.memfd, err = memfdDevice()
	}
	if err != nil {
		h.close()
		return nil, fmt.Errorf("open the host's file system view: %w", err)
	}
	return h, nil
}

func (h *host) open(proc int, pid string) error {
	link, err := readLink(proc, pid+"/ns/mnt")
	if err != nil {
		return err
	}
	if h.namespace, err = parseNamespace(link); err != nil {
		return err
	}
	root, err := openAt(proc, pid+"/root", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open root of process %s: %w", pid, err)
	}
	info, err := openAt(proc, pid+"/mountinfo", unix.O_RDONLY)
	if err != nil {
		closeFD(root)
		return fmt.Errorf("open mounts of process %s: %w", pid, err)
	}
	h.root, h.mountinfo = root, info
	// Without it no path is ever the host's, and no rule that names one matches.
	fd, err := unix.Openat2(root, ".", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		h.close()
		return fmt.Errorf("look up paths (openat2, which filters of system calls refuse, as RestrictSUIDSGID= of systemd does): %w", err)
	}
	closeFD(fd)
	return nil
}

func (h *host) close() {
	closeFD(h.root)
	closeFD(h.mountinfo)
	h.root, h.mountinfo = -1, -1
}

// memfdDevice asks the kernel where memfds live: nothing else tells them from a
// deleted file that was named so.
func memfdDevice() (uint64, error) {
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("create a memfd: %w", err)
	}
	defer closeFD(fd)
	s, err := statFD(fd)
	return s.dev, err
}

// mount finds a mount of the host by its id.
func (h *host) mount(id uint64) (mount, bool) {
	if h.mounts == nil || h.changed() {
		h.mounts = h.readMounts()
	}
	m, ok := h.mounts[id]
	return m, ok
}

// changed reports, once for each change, that the mount table is another. Ids
// are used again after an unmount.
func (h *host) changed() bool {
	p := []unix.PollFd{{Fd: int32(h.mountinfo), Events: unix.POLLPRI}}
	n, err := unix.Poll(p, 0)
	return err != nil || n > 0
}

func (h *host) readMounts() map[uint64]mount {
	b, err := readWhole(h.mountinfo, maxMounts)
	if err != nil {
		return map[uint64]mount{}
	}
	list := parseMounts(b)
	out := make(map[uint64]mount, len(list))
	for _, m := range list {
		out[m.id] = m
	}
	return out
}

// readWhole reads fd from its beginning, at most limit bytes.
func readWhole(fd, limit int) ([]byte, error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 32<<10)
	for len(b) < limit {
		if len(b) == cap(b) {
			b = append(b, make([]byte, len(b))...)[:len(b)]
		}
		n, err := readFD(fd, b[len(b):min(cap(b), limit)])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		b = b[:len(b)+n]
	}
	return b, nil
}

// shows reports whether the host shows the file of s under p, an absolute path
// without symbolic links.
func (h *host) shows(p string, s fileStat) bool {
	fd, err := h.guard.open(h.root, relative(p), unix.OpenHow{Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return false
	}
	defer closeFD(fd)
	there, err := statFD(fd)
	return err == nil && there.dev == s.dev && there.inode == s.inode
}

// called is the name of the open file of s, and whether the host shows the file
// there. removed says that the name, which is given without the kernel's suffix
// then, is not there any more, as far as the host's own mounts can tell: a file
// may also be called "x (deleted)".
func (h *host) called(fd int, s fileStat) (name string, shown, removed bool, err error) {
	const attempts = 3 // a removal in between changes the name once; more is a rename
	var last string
	for range attempts {
		link, err := linkFD(fd)
		if err != nil {
			return "", false, false, err
		}
		if h.shows(link, s) {
			return link, true, false, nil
		}
		if link == last { // it was no other when the host was looked at
			break
		}
		last = link
	}
	name, removed = strings.CutSuffix(last, deletedSuffix)
	return name, false, removed, nil
}

// find looks for the file that the kernel reported under p, which may hold
// symbolic links. It returns the path without them, and whether the file was
// removed from there while it was looked at.
func (h *host) find(p string, file event.FileID) (path string, removed, ok bool) {
	if file.IsZero() {
		return "", false, false
	}
	fd, err := h.guard.open(h.root, relative(p), unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return "", false, false
	}
	defer closeFD(fd)
	s, err := statFD(fd)
	if err != nil || s.inode != file.Inode || h.device(s) != file.Dev {
		return "", false, false
	}
	// The inode number may have been given to another file since: the time of
	// change cannot be set. The file lies on the device that was executed from,
	// and a file system that answers falsely harms its own files only.
	if s, err = h.times(fd); err != nil || s.ctime != file.Ctime {
		return "", false, false
	}
	path, _, removed, err = h.called(fd, s)
	return path, removed, err == nil
}

// times stats fd with the guard: the file system may be slow.
func (h *host) times(fd int) (fileStat, error) {
	return withCopy(h.guard, fd, statTimes, func(fileStat) {})
}

// device is the superblock's device of a file that was opened through a mount
// of the host, else what stat says.
func (h *host) device(s fileStat) uint64 {
	if m, ok := h.mount(s.mount); ok {
		return m.dev
	}
	return s.dev
}

// identity is what the kernel would have reported of the open file of s; zero
// when its superblock is not known here or the file system does not answer.
func (h *host) identity(fd int, s fileStat) event.FileID {
	m, ok := h.mount(s.mount)
	if !ok {
		return event.FileID{}
	}
	s, err := h.times(fd)
	if err != nil {
		return event.FileID{}
	}
	return event.FileID{Dev: m.dev, Inode: s.inode, Size: s.size, Mtime: s.mtime, Ctime: s.ctime}
}

// executed reports whether the open file of s is the one that the kernel
// reported as file.
func (h *host) executed(file event.FileID, s fileStat) bool {
	if s.dev == file.Dev {
		return s.inode == file.Inode
	}
	if m, ok := h.mount(s.mount); ok {
		return m.dev == file.Dev && s.inode == file.Inode
	}
	// overlayfs or btrfs in another mount namespace: stat shows a device that
	// the superblock does not have, both without hardware (major 0).
	return file.Dev>>20 == 0 && s.dev>>20 == 0 && s.inode == file.Inode
}

func relative(p string) string {
	if p = strings.TrimLeft(p, "/"); p == "" {
		return "."
	}
	return p
}

// gone reports whether err means that the process has ended.
func gone(err error) bool { return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) }
