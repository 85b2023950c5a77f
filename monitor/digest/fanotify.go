package digest

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Flags of the descriptors that events bring. O_NONBLOCK keeps a lease on the
// file from stopping the reader.
const eventFlags = unix.O_RDONLY | unix.O_LARGEFILE | unix.O_CLOEXEC | unix.O_NOATIME | unix.O_NONBLOCK

// modified are the events that end an entry.
const modified = unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE

// errFanotify means that the kernel or the privileges do not give fanotify.
var errFanotify = errors.New("fanotify is not available")

// fanSink takes what a group reads. Descriptors are the sink's to close.
type fanSink interface {
	executed(g *group, pid uint32, fd int)
	changed(g *group, fd int)
	missed(g *group)     // one event whose file could not be opened
	overflowed(g *group) // the queue was full: any number of events
}

// group is one fanotify group of notifications. Its queue is the kernel's
// bounded one: what does not fit is announced and handled, memory is not.
//
// The kernel opens the file of an event while we read the event. Overlays have
// a group of their own, because an overlay may lie on a file system that does
// not answer: then that reader is stuck and the other one is not.
type group struct {
	name      string
	file      *os.File
	conn      syscall.RawConn
	evictable bool  // inode marks that do not keep the inode in memory (5.19)
	protocol  error // why serve ended; serve's own
	closing   atomic.Bool
}

// newGroup makes a group without marks.
func newGroup(name string) (*group, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_MARKS, eventFlags)
	if err != nil {
		return nil, fmt.Errorf("%w: init: %w", errFanotify, err)
	}
	g := &group{name: name, file: os.NewFile(uintptr(fd), "fanotify")}
	if g.conn, err = g.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("use fanotify descriptor: %w", err), g.file.Close())
	}
	g.evictable = g.probeEvictable()
	return g, nil
}

// probeEvictable puts an evictable mark on a file of our own and takes it away.
func (g *group) probeEvictable() bool {
	const where = "/proc/self/exe"
	if err := g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_EVICTABLE, unix.FAN_MODIFY, unix.AT_FDCWD, where); err != nil {
		return false
	}
	return g.mark(unix.FAN_MARK_REMOVE|unix.FAN_MARK_EVICTABLE, unix.FAN_MODIFY, unix.AT_FDCWD, where) == nil ||
		g.mark(unix.FAN_MARK_REMOVE, unix.FAN_MODIFY, unix.AT_FDCWD, where) == nil
}

func (g *group) mark(flags uint, mask uint64, dir int, path string) error {
	var err error
	if useErr := g.conn.Control(func(fd uintptr) { err = unix.FanotifyMark(int(fd), flags, mask, dir, path) }); useErr != nil {
		return fmt.Errorf("use fanotify descriptor: %w", useErr)
	}
	if err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	return nil
}

// watchPath marks the file system that is mounted at path. Marking twice is
// the same as once.
func (g *group) watchPath(path string) error {
	return g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, path)
}

// watchDescriptor marks the file system of an open file. Internal file systems
// (memfd) refuse, which is no loss: nobody else can execute from them.
func (g *group) watchDescriptor(fd int) error {
	return g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_OPEN_EXEC, fd, "")
}

// arm asks for silence about executions of this file until it is modified, and
// for a word when it is. The kernel takes the silence back by itself at the
// first modification. False: not available.
func (g *group) arm(fd int) bool {
	if !g.evictable {
		return false
	}
	if g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_EVICTABLE, modified, fd, "") != nil {
		return false
	}
	return g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_EVICTABLE|unix.FAN_MARK_IGNORED_MASK, unix.FAN_OPEN_EXEC, fd, "") == nil
}

// disarm undoes arm. A mark that is not there is no error.
func (g *group) disarm(fd int) {
	_ = g.mark(unix.FAN_MARK_REMOVE|unix.FAN_MARK_IGNORED_MASK, unix.FAN_OPEN_EXEC, fd, "")
	_ = g.mark(unix.FAN_MARK_REMOVE, modified, fd, "")
}

// disarmAll undoes every arm.
func (g *group) disarmAll() { _ = g.mark(unix.FAN_MARK_FLUSH, 0, unix.AT_FDCWD, "/") }

// kick makes serve look at an empty queue once more.
func (g *group) kick() { _ = g.file.SetReadDeadline(time.Unix(1, 0)) }

// serve reads until close. Before each look at the queue it takes a ticket, and
// when the queue is empty it hands the ticket to settled: all events that
// happened before the ticket was taken have reached the sink by then.
func (g *group) serve(sink fanSink, ticket func() uint64, settled func(uint64)) error {
	var buf [4096]byte // 170 events: a bound on the descriptors that one read opens
	for {
		if err := g.file.SetReadDeadline(time.Time{}); err != nil {
			return g.unlessClosing(err)
		}
		number := ticket()
		err := g.conn.Read(func(fd uintptr) bool {
			if !g.drain(int(fd), buf[:], sink) {
				return true
			}
			settled(number)
			return false
		})
		if g.protocol != nil {
			return g.protocol
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return g.unlessClosing(err)
		}
	}
}

// unlessClosing is nil for the error that close itself causes.
func (g *group) unlessClosing(err error) error {
	if g.closing.Load() {
		return nil
	}
	return fmt.Errorf("wait for fanotify: %w", err)
}

// drain reads until the queue is empty; false when the group is unusable.
func (g *group) drain(fd int, buf []byte, sink fanSink) bool {
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			// The kernel says the same for an event whose file it could not
			// open because of a lease, and takes that event off the queue.
			if !readable(fd) {
				return true
			}
			sink.missed(g)
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EBADF), errors.Is(err, unix.EFAULT):
			g.protocol = fmt.Errorf("read fanotify: %w", err)
			return false
		case err != nil: // the event's file could not be opened: the event is gone
			sink.missed(g)
			if !readable(fd) {
				return true
			}
		default:
			if g.protocol = g.dispatch(buf[:n], sink); g.protocol != nil {
				return false
			}
		}
	}
}

func readable(fd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n > 0
}

func (g *group) dispatch(buf []byte, sink fanSink) error {
	for len(buf) > 0 {
		ev, rest, err := nextEvent(buf)
		if err != nil {
			return err
		}
		buf = rest
		if ev.mask&unix.FAN_Q_OVERFLOW != 0 {
			sink.overflowed(g)
		}
		if ev.fd < 0 {
			continue
		}
		if ev.mask&modified != 0 {
			sink.changed(g, int(ev.fd))
		}
		if ev.mask&unix.FAN_OPEN_EXEC != 0 && ev.pid > 0 {
			sink.executed(g, uint32(ev.pid), int(ev.fd))
			continue
		}
		_ = unix.Close(int(ev.fd))
	}
	return nil
}

// close takes all marks away and ends serve. It waits for a read that is under
// way: a reader stuck in a dead file system keeps it, and the caller bounds
// that.
func (g *group) close() error {
	g.closing.Store(true)
	for _, kind := range []uint{unix.FAN_MARK_FILESYSTEM, unix.FAN_MARK_INODE} {
		_ = g.mark(unix.FAN_MARK_FLUSH|kind, 0, unix.AT_FDCWD, "/")
	}
	if err := g.file.Close(); err != nil {
		return fmt.Errorf("close fanotify: %w", err)
	}
	return nil
}
