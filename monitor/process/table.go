package process

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// Defaults of Config.
const (
	DefaultProc         = "/proc"
	DefaultMaxProcesses = 65536
	DefaultGrace        = time.Minute
)

// headroom is how many images one call may add: one, and its ancestors where
// they were not known.
const headroom = 2*maxDepth + 4

// Config says how much the table keeps. Zero values mean the defaults.
type Config struct {
	Proc         string        // where the proc file system of the initial PID namespace is mounted
	MaxProcesses int           // images, at least 256; about 1 KiB each
	Grace        time.Duration // how long an ended image stays known
}

// Deps are what the table needs of others.
type Deps struct {
	Hasher Hasher                        // required
	Log    *slog.Logger                  // nil: silent
	Loss   func(event.LossCause, uint64) // called with the table locked: must not call back; nil: not counted
	Owner  Owner                         // knows the packages of files; nil: nobody does
	Judge  Judge                         // knows what is said of files; nil: nobody does
	User   func(uid uint32) string       // names a user, from memory as a rule; called as Loss is; nil: nobody has a name
}

// Table is the table of processes. Its methods may be called from any
// goroutine; records must come in the kernel's order. It never fails on what
// processes do. Close frees it.
type Table struct {
	hasher       Hasher
	log          *slog.Logger
	loss         func(event.LossCause, uint64)
	user         func(uint32) string
	owner        Owner
	judge        Judge
	max          int
	grace        uint64 // ns
	booted       time.Time
	interpreters []interpreter
	kernel       *event.Process // what has no process at all

	inbox       inbox
	openScripts atomic.Int32

	mu        sync.Mutex // guards all below
	proc      int        // descriptor of Config.Proc
	guard     *guard
	host      *host
	cgroups   *cgroups
	buf       []byte
	images    map[event.ProcessID]*image
	current   map[uint32]*image // the running image of each process
	announced map[*image]struct{}
	lines     lines
	version   uint64
	dirty     bool // something that may have been announced changed
	sweptAt   uint64
}

// New opens the host's views. It fails when /proc is not there.
func New(cfg Config, deps Deps) (*Table, error) {
	if deps.Hasher == nil {
		return nil, errors.New("make process table: no hasher")
	}
	t := &Table{hasher: deps.Hasher, log: deps.Log, loss: deps.Loss, user: deps.User, owner: deps.Owner, judge: deps.Judge, max: cfg.MaxProcesses, grace: uint64(cfg.Grace),
		interpreters: interpreters(), guard: newGuard(), buf: make([]byte, maxStat), images: map[event.ProcessID]*image{},
		current: map[uint32]*image{}, announced: map[*image]struct{}{}, lines: lines{}}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.loss == nil {
		t.loss = func(event.LossCause, uint64) {}
	}
	if t.user == nil {
		t.user = func(uint32) string { return "" }
	}
	if t.max == 0 {
		t.max = DefaultMaxProcesses
	}
	t.max = max(t.max, 256)
	if cfg.Grace == 0 {
		t.grace = uint64(DefaultGrace)
	}
	t.booted = time.Now().Add(-time.Duration(bootNow()))
	t.kernel = &event.Process{Name: "kernel", Started: t.booted,
		Executable: event.Executable{Kind: event.ExecutableKernel, Reason: event.HashNoFile}}
	if cfg.Proc == "" {
		cfg.Proc = DefaultProc
	}
	if err := t.open(cfg.Proc); err != nil {
		t.Close()
		return nil, fmt.Errorf("make process table: %w", err)
	}
	return t, nil
}

func (t *Table) open(proc string) error {
	var err error
	if t.proc, err = openAt(unix.AT_FDCWD, proc, unix.O_RDONLY|unix.O_DIRECTORY); err != nil {
		t.proc = -1
		return fmt.Errorf("open %q: %w", proc, err)
	}
	if t.host, err = openHost(t.proc, t.guard); err != nil {
		return err
	}
	t.cgroups, err = openCgroups(t.proc)
	return err
}

// Close frees the descriptors. Answers of the hasher may still come; nothing
// else may be called.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines.close()
	closeFD(t.proc)
	t.proc = -1
	if t.host != nil {
		t.host.close()
	}
	if t.cgroups != nil {
		t.cgroups.close()
	}
}

// Len is the number of images.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.images)
}

// Cgroup names the cgroup with the inode number id: of a socket, which may be
// accounted elsewhere than its process is by now. owner helps on hosts whose
// processes lie in the root of cgroup v2; it may be zero.
func (t *Table) Cgroup(id uint64, owner event.ProcessID) event.Cgroup {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.images[owner]; ok && i.cgroup.ID == id && i.cgroup.Path != "" {
		return i.cgroup
	}
	return t.cgroups.get(id)
}

// find returns the image of id, a new one without facts where there is none.
func (t *Table) find(id event.ProcessID) *image {
	if i, ok := t.images[id]; ok {
		return i
	}
	now := bootNow()
	i := &image{id: id, started: id.Start}
	other := t.adopt(id)
	if other != nil && other.id == id {
		return other
	}
	if other == nil {
		other = t.earlier(id)
	}
	if other != nil {
		i.parent, i.sure, i.name = other.parent, other.sure, other.name
	}
	t.add(i)
	t.enter(i, now)
	return i
}

// adopt returns the running image of the same process as id, if there is one.
// A guessed one becomes id.
func (t *Table) adopt(id event.ProcessID) *image {
	cur := t.current[id.PID]
	if cur == nil || cur.tick() != id.Start/tickNanos {
		return nil
	}
	if cur.guessed {
		delete(t.images, cur.id)
		cur.id, cur.guessed = id, false
		t.images[id] = cur
		t.touch(cur)
	}
	return cur
}

func (t *Table) add(i *image) {
	i.version = t.nextVersion()
	t.images[i.id] = i
}

// enter makes i the running image of its number, unless a later one is known:
// then i has ended. boot is when this was learned.
func (t *Table) enter(i *image, boot uint64) {
	cur := t.current[i.id.PID]
	switch {
	case cur == i || i.ended != 0:
		return
	case cur != nil && cur.after(i):
		i.ended = boot
		return
	case cur != nil:
		t.end(cur, boot)
	}
	t.current[i.id.PID] = i
}

// after reports that i is a later image of the same number than j.
func (i *image) after(j *image) bool {
	if i.tick() != j.tick() {
		return i.tick() > j.tick()
	}
	return int32(i.id.Exec-j.id.Exec) > 0 // the number is the low half of a longer one
}

// end says that i no longer runs.
func (t *Table) end(i *image, boot uint64) {
	if i.ended == 0 {
		i.ended = max(boot, 1)
	}
	if t.current[i.id.PID] == i {
		delete(t.current, i.id.PID)
	}
}
