package verdict

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/monitor/event"
)

// Bounds of holding an exec: none waits longer, and no more are looked at.
const (
	execDeadline  = 500 * time.Millisecond
	execsAtOnce   = 64
	announceHolds = 5 * time.Second
)

// preload classifies a program before its first instruction: it holds each exec
// on the marked file systems until the kernel knows the class of what is about
// to run. It never denies one. Closing its descriptor, also by a kill, lets all
// go that wait.
//
// The process that has one must never fork: its own exec would wait for itself.
type preload struct {
	backend *Backend
	file    *os.File
	conn    syscall.RawConn
	slots   chan struct{} // of execsAtOnce
	running sync.WaitGroup
	late    atomic.Uint64    // let go before they were classified
	marked  map[string]error // mount points, and why not; guarded by the Backend's lock
}

// newPreload marks the file systems that are mounted at paths.
func newPreload(b *Backend, paths []string) (*preload, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE|unix.FAN_UNLIMITED_MARKS,
		unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open fanotify: %w", err)
	}
	p := &preload{backend: b, file: os.NewFile(uintptr(fd), "fanotify"), slots: make(chan struct{}, execsAtOnce), marked: map[string]error{}}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("use fanotify descriptor: %w", err), p.file.Close())
	}
	p.running.Go(p.read) // before the first mark: what it holds is answered
	for _, path := range paths {
		if err := p.mark(path); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

func (p *preload) mark(path string) error {
	var err error
	use := p.conn.Control(func(fd uintptr) {
		err = unix.FanotifyMark(int(fd), unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_OPEN_EXEC_PERM, unix.AT_FDCWD, path)
	})
	if err = errors.Join(use, err); err != nil {
		return fmt.Errorf("hold programs of %s: %w", path, err)
	}
	return nil
}

// follow marks the file systems that are mounted now, each once: one that cannot
// be marked has programs that are judged when they connect. The caller holds the
// Backend's lock.
func (p *preload) follow(mounts func() []string) {
	if mounts == nil {
		return
	}
	now := mounts()
	for _, path := range now {
		if _, tried := p.marked[path]; tried {
			continue
		}
		err := p.mark(path)
		p.marked[path] = err
		if err != nil {
			p.backend.deps.Log.Info("programs are not held", "path", path, "error", err)
		}
	}
	maps.DeleteFunc(p.marked, func(path string, _ error) bool { return !slices.Contains(now, path) })
}

// close lets go of all that wait and joins the goroutines.
func (p *preload) close() error {
	err := p.file.Close()
	p.running.Wait()
	return err
}

func (p *preload) read() {
	buf := make([]byte, 4096)
	for {
		n, err := p.file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			p.backend.problem("read held programs", err)
			time.Sleep(time.Millisecond) // a descriptor could not be made: the next read goes on behind it
			continue
		}
		for rest := buf[:n]; len(rest) > 0; {
			var e heldExec
			if e, rest, err = nextExec(rest); err != nil {
				p.backend.problem("read held programs", err)
				break
			}
			if e.file != nil {
				p.hold(e)
			}
		}
	}
}

// hold answers e by the deadline at the latest, from then on without having
// classified it.
func (p *preload) hold(e heldExec) {
	var once sync.Once
	letGo := func() { once.Do(func() { p.allow(e) }) }
	select {
	case p.slots <- struct{}{}:
	default:
		p.late.Add(1)
		letGo()
		_ = e.file.Close()
		return
	}
	deadline := time.AfterFunc(execDeadline, func() { p.late.Add(1); letGo() })
	p.running.Go(func() {
		p.backend.problem("announce a program", p.backend.announce(e))
		letGo()
		if !deadline.Stop() { // it may be about to use the descriptor's number
			once.Do(func() {})
		}
		_ = e.file.Close()
		<-p.slots
	})
}

// allow answers for the descriptor of e, which must be open.
func (p *preload) allow(e heldExec) {
	if _, err := p.file.Write(allowExec(int32(e.file.Fd()))); err != nil && !errors.Is(err, os.ErrClosed) {
		p.backend.problem("let a program go", err)
	}
}

// announce tells the kernel what class a process is of once it runs the file.
func (b *Backend) announce(e heldExec) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(e.file.Fd()), &st); err != nil {
		return fmt.Errorf("look at program: %w", err)
	}
	image := b.becomes(e)
	if image == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kernel == nil || b.current == nil || b.current.waits(image) {
		return nil
	}
	classes, err := b.classesOf(b.current, image)
	if err != nil {
		return err
	}
	return b.kernel.Announce(bpf.VerdictImage{Inode: st.Ino, Pid: e.pid}, bpf.VerdictPending{Subject: classes, Size: st.Size,
		Ctime: st.Ctim.Nano(), Until: uint64(bootNow() + announceHolds)})
}

// becomes is what the process of e is about to become; nil when nobody can know.
func (b *Backend) becomes(e heldExec) *event.Process {
	if b.deps.Image == nil {
		return b.image(e)
	}
	b.mu.Lock()
	g := b.current
	b.mu.Unlock()
	if g == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), execDeadline*9/10)
	defer cancel()
	return b.deps.Image(ctx, e.pid, e.file, g.reads)
}

// image is the process as it will be, as far as that can be told from the file.
func (b *Backend) image(e heldExec) *event.Process {
	before := b.before(e.pid)
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", e.file.Fd()))
	if err != nil {
		path = ""
	}
	image := *before
	image.Executable = event.Executable{Path: path, Kind: event.ExecutableFile}
	if deleted, ok := strings.CutSuffix(path, " (deleted)"); ok {
		image.Executable = event.Executable{Path: deleted, Kind: event.ExecutableDeleted}
	}
	image.Name = name(path)
	image.Script, image.Args = nil, nil
	return &image
}

// name is what the kernel will call the process.
func name(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	return base[:min(len(base), 15)]
}

// before is the image that a process runs now; of one that nobody told of yet
// its parent, which forked it.
func (b *Backend) before(pid uint32) *event.Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learnLocked()
	if p := b.byPID(pid); p != nil {
		return p
	}
	p := &event.Process{ID: event.ProcessID{PID: pid}, Parent: b.byPID(parentOf(pid))}
	if p.Parent != nil {
		p.UID, p.GID, p.User, p.Cgroup = p.Parent.UID, p.Parent.GID, p.Parent.User, p.Parent.Cgroup
	}
	return p
}

// byPID is the latest image of a process id.
func (b *Backend) byPID(pid uint32) (latest *event.Process) {
	for id := range b.pids[pid] {
		if p := b.live[id].process; latest == nil || id.Start > latest.ID.Start || id.Start == latest.ID.Start && id.Exec > latest.ID.Exec {
			latest = p
		}
	}
	return latest
}

// parentOf is 0 for a process that is gone.
func parentOf(pid uint32) uint32 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var state string
	var parent uint32
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
		return 0
	}
	return parent
}
