package process

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// world is a kernel on paper: processes that fork, exec, exit and use numbers
// again, the /proc that shows them, and the truth about each image.
type world struct {
	t     failer
	proc  string
	files string
	clock uint64

	living []*subject
	numPID uint32
	truth  map[event.ProcessID]*truth
	all    []event.ProcessID
	inodes map[uint64]string // programs by inode
}

// subject is a living process.
type subject struct {
	id   event.ProcessID
	ppid uint32
}

// truth is what is so of one image.
type truth struct {
	program string // name of its program, unique to the exec that loaded it
	parent  event.ProcessID
	told    bool // its fork record, and that of every earlier image, was delivered
	lost    bool // a record of its process or of an ancestor was lost
}

// lifetime names a process: all of its images.
type lifetime struct {
	pid   uint32
	start uint64
}

func life(id event.ProcessID) lifetime { return lifetime{id.PID, id.Start} }

// failer is what tests and random histories have in common.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func newWorld(t failer, dir string) *world {
	w := &world{t: t, proc: filepath.Join(dir, "proc"), files: filepath.Join(dir, "bin"), clock: 50 * tickNanos,
		truth: map[event.ProcessID]*truth{}, inodes: map[uint64]string{}}
	self := filepath.Join(w.proc, "self")
	w.must(os.MkdirAll(filepath.Join(self, "ns"), 0o755))
	w.must(os.MkdirAll(w.files, 0o755))
	w.must(os.Symlink("mnt:[1]", filepath.Join(self, "ns", "mnt")))
	w.must(os.Symlink("/", filepath.Join(self, "root")))
	info, err := os.ReadFile("/proc/self/mountinfo")
	w.must(err)
	w.put(filepath.Join(self, "mountinfo"), string(info))
	return w
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(path, text string) { w.must(os.WriteFile(path, []byte(text), 0o600)) }

func (w *world) dir(pid uint32) string { return filepath.Join(w.proc, strconv.Itoa(int(pid))) }

// tick lets at least one clock tick pass, so that no two processes of one
// number began in the same one: the kernel does not use a number again so soon.
func (w *world) tick() uint64 { w.clock += tickNanos + 777; return w.clock }

// show writes the state of s into /proc.
func (w *world) show(s *subject, program string) {
	d := w.dir(s.id.PID)
	w.put(filepath.Join(d, "stat"), fmt.Sprintf("%d (%s) S %d 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", s.id.PID, program, s.ppid, s.id.Start/tickNanos))
	w.put(filepath.Join(d, "cmdline"), program+"\x00")
	w.put(filepath.Join(d, "status"), "Name:\tx\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\n")
	exe := filepath.Join(d, "exe")
	_ = os.Remove(exe)
	w.must(os.Symlink(filepath.Join(w.files, program), exe))
}

// fork makes a child of parent (nil: the first process).
func (w *world) fork(parent *subject) (*subject, event.Fork) {
	w.numPID = w.numPID%12 + 1
	for w.taken(w.numPID) {
		w.numPID = w.numPID%12 + 1
	}
	s := &subject{id: event.ProcessID{PID: w.numPID, Start: w.tick()}}
	now := &truth{program: w.program("init")}
	if parent != nil {
		s.ppid, s.id.Exec = parent.id.PID, parent.id.Exec
		now = &truth{program: w.truth[parent.id].program, parent: parent.id}
	}
	w.must(os.MkdirAll(filepath.Join(w.dir(s.id.PID), "ns"), 0o755))
	w.living = append(w.living, s)
	w.note(s.id, now)
	w.show(s, now.program)
	return s, event.Fork{Child: s.id, Parent: now.parent, Boot: s.id.Start, Comm: now.program}
}

func (w *world) taken(pid uint32) bool {
	for _, s := range w.living {
		if s.id.PID == pid {
			return true
		}
	}
	return false
}

func (w *world) note(id event.ProcessID, now *truth) {
	w.truth[id] = now
	w.all = append(w.all, id)
}

// program makes a file of its own for one exec.
func (w *world) program(name string) string {
	w.put(filepath.Join(w.files, name), name)
	w.inodes[w.stat(name).Ino] = name
	return name
}

func (w *world) stat(program string) unix.Stat_t {
	var st unix.Stat_t
	w.must(unix.Stat(filepath.Join(w.files, program), &st))
	return st
}

func (w *world) exec(s *subject) event.Exec {
	boot := w.tick()
	before := *w.truth[s.id]
	s.id.Exec++
	now := &before
	now.program = w.program(fmt.Sprintf("p%d.%d.%d", s.id.PID, s.id.Start, s.id.Exec))
	w.note(s.id, now)
	w.show(s, now.program)
	st := w.stat(now.program)
	path := filepath.Join(w.files, now.program)
	return event.Exec{ID: s.id, Boot: boot, Parent: w.idOf(s.ppid), Filename: path, Comm: now.program, Args: []string{now.program}, MountNS: 1, Links: 1,
		File: event.FileID{Dev: kernelDev(unix.Major(st.Dev), unix.Minor(st.Dev)), Inode: st.Ino, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}}
}

func (w *world) idOf(pid uint32) event.ProcessID {
	for _, s := range w.living {
		if s.id.PID == pid {
			return s.id
		}
	}
	return event.ProcessID{}
}

// exit ends s; its children get the first process as their parent.
func (w *world) exit(s *subject) event.Exit {
	w.must(os.RemoveAll(w.dir(s.id.PID)))
	first := w.living[0]
	for i, x := range w.living {
		if x == s {
			w.living = append(w.living[:i], w.living[i+1:]...)
			break
		}
	}
	for _, x := range w.living {
		if x.ppid == s.id.PID {
			x.ppid = first.id.PID
			w.show(x, w.truth[x.id].program)
		}
	}
	return event.Exit{ID: s.id, Boot: w.tick()}
}

// paper is the Hasher of a world: it reads the file that the process executes
// now, or the one with the inode that is asked for.
type paper struct {
	w    *world
	late []func()
}

func (h *paper) Executable(req event.HashRequest, done func(event.HashResult)) (event.HashResult, bool) {
	h.late = append(h.late, func() {
		path := filepath.Join(h.w.dir(req.ID.PID), "exe")
		if !req.File.IsZero() {
			path = filepath.Join(h.w.files, h.w.inodes[req.File.Inode])
		}
		done(digestOf(path))
	})
	return event.HashResult{Reason: event.HashPending}, false
}

func (h *paper) File(string, func(event.HashResult)) (event.HashResult, bool) {
	return event.HashResult{Reason: event.HashVanished}, true
}

func (h *paper) answer() {
	for _, f := range h.late {
		f()
	}
	h.late = nil
}

// check compares a snapshot with the truth.
func (w *world) check(id event.ProcessID, p *event.Process) {
	w.t.Helper()
	if p == nil || p.ID != id {
		w.t.Fatalf("Lookup(%v) = %+v", id, p)
	}
	seen := map[lifetime]bool{}
	for depth := 0; p != nil; depth++ {
		if depth > event.MaxAncestors {
			w.t.Fatalf("lineage of %v is longer than %d", id, event.MaxAncestors)
		}
		if key := (lifetime{p.ID.PID, p.ID.Start / tickNanos}); seen[key] {
			w.t.Fatalf("lineage of %v has %v twice", id, p.ID)
		} else {
			seen[key] = true
		}
		w.checkFacts(p)
		w.checkParent(p)
		p = p.Parent
	}
}

// checkFacts: what is said of an image is of its own process or, inherited over
// forks, of its forefathers; and of one image only.
func (w *world) checkFacts(p *event.Process) {
	w.t.Helper()
	x := p.Executable
	if x.Kind == event.ExecutableUnknown {
		if x.Path != "" || len(p.Args) > 0 || !x.SHA256.IsZero() {
			w.t.Fatalf("unknown image %v has facts: %+v", p.ID, p)
		}
		return
	}
	program := filepath.Base(x.Path)
	if len(p.Args) != 1 || p.Args[0] != program {
		w.t.Fatalf("image %v mixes %q and %q", p.ID, program, p.Args)
	}
	if !x.SHA256.IsZero() && x.SHA256 != sha256.Sum256([]byte(program)) {
		w.t.Fatalf("image %v has the digest of another program than %q", p.ID, program)
	}
	if x.View != "" {
		w.t.Fatalf("image %v: %q is not believed", p.ID, x.Path)
	}
	now, exact := w.truth[p.ID]
	if exact && program == now.program {
		return
	}
	if exact && !now.lost {
		w.t.Fatalf("image %v is said to run %q, but runs %q, and nothing was lost", p.ID, program, now.program)
	}
	for _, l := range w.forefathers(p.ID) {
		if program == "init" || strings.HasPrefix(program, fmt.Sprintf("p%d.%d.", l.pid, l.start)) {
			return
		}
	}
	w.t.Fatalf("image %v is said to run %q of a stranger", p.ID, program)
}

// forefathers lists the process of id and those that it descends from.
func (w *world) forefathers(id event.ProcessID) []lifetime {
	var out []lifetime
	for {
		now, ok := w.truth[id]
		if !ok { // guessed: to the tick
			for other, t := range w.truth {
				if other.PID == id.PID && other.Start/tickNanos == id.Start/tickNanos {
					id, now, ok = other, t, true
					break
				}
			}
		}
		if !ok {
			return out
		}
		out = append(out, life(id))
		id = now.parent
	}
}

// checkParent: exact where the fork was told, else the one that /proc may have
// shown: the forker or the first process.
func (w *world) checkParent(p *event.Process) {
	w.t.Helper()
	now, ok := w.truth[p.ID]
	if !ok || p.Parent == nil {
		return
	}
	got := p.Parent.ID
	if now.told && got != now.parent {
		w.t.Fatalf("parent of %v is %v, want %v", p.ID, got, now.parent)
	}
	first := w.all[0]
	same := func(a event.ProcessID) bool { return a.PID == got.PID && a.Start/tickNanos == got.Start/tickNanos }
	if !same(now.parent) && !same(first) {
		w.t.Fatalf("parent of %v is %v, want %v or the first process", p.ID, got, now.parent)
	}
}
