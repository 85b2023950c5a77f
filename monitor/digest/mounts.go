package digest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// mountTable is what the daemon's own mount namespace shows. What stands in it
// was mounted by the host's administrator: nobody else can mount there.
type mountTable struct {
	byID  map[uint64]mount
	byDev map[uint64]family
	list  []mount
}

// family of the superblock dev; unknown when the host does not show it.
func (t *mountTable) family(dev uint64) family {
	if t == nil {
		return familyUnknown
	}
	return t.byDev[dev]
}

// prompt reports whether dev is known to answer without waiting for a server.
func (t *mountTable) prompt(dev uint64) bool {
	if f := t.family(dev); f != familyUnknown {
		return f.prompt()
	}
	// Only an administrator mounts a block device, also where it is not shown.
	return dev != 0 && !anonymous(dev)
}

// points are mount points of the file systems that answer promptly, one each.
// Those below a server's are left out: to look them up may wait for it.
func (t *mountTable) points() (points []string) {
	seen := map[uint64]bool{}
	for _, m := range t.list {
		if m.family.prompt() && !seen[m.dev] && !t.below(m.point) {
			seen[m.dev] = true
			points = append(points, m.point)
		}
	}
	return points
}

// below reports whether a path leads through a file system that may not answer.
func (t *mountTable) below(point string) bool {
	for _, m := range t.list {
		if !m.family.prompt() && m.family != familyUnknown && strings.HasPrefix(point, strings.TrimSuffix(m.point, "/")+"/") {
			return true
		}
	}
	return false
}

// mounts keeps the table of the own namespace and knows at any moment whether
// it still is true: device and mount numbers are used again after an unmount.
type mounts struct {
	path string

	mu      sync.Mutex
	probe   int // own descriptor: the kernel reports a change once to each
	changes uint64
	seen    uint64 // value of changes when table was begun
	table   *mountTable
	wake    int // eventfd: makes watch read again or end
}

func newMounts(path string) (*mounts, error) {
	probe, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(probe)
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	m := &mounts{path: path, probe: probe, wake: wake}
	if _, err := m.reload(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// current is the table, or nil while it may be out of date. It costs one
// system call that does not wait.
func (m *mounts) current() *mountTable {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.probe < 0 {
		return nil
	}
	if mountsChanged(m.probe) {
		m.changes++
		m.kick()
	}
	if m.changes != m.seen {
		return nil
	}
	return m.table
}

// reload reads the table again: what it returns was true after the call began.
// Changes that come while it reads are noticed by the next call of current.
func (m *mounts) reload() (*mountTable, error) {
	m.mu.Lock()
	begun := m.changes
	m.mu.Unlock()
	f, err := os.Open(m.path)
	if err != nil {
		return nil, fmt.Errorf("open mount table: %w", err)
	}
	list, _, err := parseMountinfo(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	t := &mountTable{byID: make(map[uint64]mount, len(list)), byDev: make(map[uint64]family, len(list)), list: list}
	for _, v := range list {
		t.byID[v.id] = v
		t.byDev[v.dev] = v.family
	}
	m.mu.Lock()
	m.table, m.seen = t, begun
	m.mu.Unlock()
	return t, nil
}

// watch reloads at each change and then calls changed, until ctx ends.
func (m *mounts) watch(ctx context.Context, changed func(*mountTable)) error {
	fd, err := unix.Open(m.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("watch mounts: %w", err)
	}
	defer unix.Close(fd)
	stop := context.AfterFunc(ctx, m.kickLocked)
	defer stop()
	for {
		t, err := m.reload()
		if err != nil {
			return fmt.Errorf("watch mounts: %w", err)
		}
		changed(t)
		if ctx.Err() != nil {
			return nil
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}, {Fd: int32(m.wake), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll mounts: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		var count [8]byte
		_, _ = unix.Read(m.wake, count[:]) // EAGAIN when the mounts themselves woke us
	}
}

func (m *mounts) kickLocked() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kick()
}

// kick wakes watch. Callers hold mu.
func (m *mounts) kick() {
	if m.wake >= 0 {
		_, _ = unix.Write(m.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full means that a wake-up is due anyway
	}
}

// close ends the use of m; watch has returned before.
func (m *mounts) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.probe >= 0 {
		_ = unix.Close(m.probe)
		_ = unix.Close(m.wake)
	}
	m.probe, m.wake = -1, -1
}

// mountsChanged asks the kernel whether the namespace changed since the last
// question on this descriptor.
func mountsChanged(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}
	n, err := unix.Poll(fds[:], 0)
	if err != nil {
		return true
	}
	return n > 0 && fds[0].Revents&(unix.POLLPRI|unix.POLLERR) != 0
}
