package process

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
)

func TestRealExec(t *testing.T) {
	b := newBench(t)
	sh := shell(t, t.TempDir(), "prog")
	pid := start(t, command(sh, "-c", waiting))
	e := observed(t, pid, 7)
	b.Exec(e)
	p := b.settled(e.ID)
	checkExe(t, p, sh, "", event.ExecutableFile, content(t, sh))
	if p.Name != "prog" || !slices.Equal(p.Args, []string{"sh", "-c", waiting}) || p.Script != nil {
		t.Errorf("name %q args %q script %v", p.Name, p.Args, p.Script)
	}
	if p.ID != e.ID || p.NetNS != e.NetNS || p.MountNS != e.MountNS || p.PIDNS != e.PIDNS {
		t.Errorf("id or namespaces differ: %+v", p)
	}
	if d := time.Since(p.Started); d < 0 || d > time.Minute {
		t.Errorf("started %v ago", d)
	}
}

// An id that no record named is read from /proc, with its ancestors up to the top.
func TestRealLookupUnknown(t *testing.T) {
	b := newBench(t)
	sh := shell(t, t.TempDir(), "prog")
	pid := start(t, command(sh, "-c", waiting))
	e := observed(t, pid, 7)
	p := b.settled(e.ID)
	checkExe(t, p, sh, "", event.ExecutableFile, content(t, sh))
	if p.Name != "prog" || !slices.Equal(p.Args, e.Args) || p.UID != uint32(os.Getuid()) || p.NetNS != e.NetNS || p.MountNS != e.MountNS {
		t.Errorf("read %+v", p)
	}
	self := p.Ancestor(1)
	if self == nil || self.ID.PID != uint32(os.Getpid()) || self.Executable.Path != readlink(t, "/proc/self/exe") {
		t.Fatalf("parent is %+v, want this test", self)
	}
	if self.Executable.SHA256 != content(t, "/proc/self/exe") {
		t.Errorf("parent's digest is %v (%v)", self.Executable.SHA256, self.Executable.Reason)
	}
	top := p
	for top.Parent != nil {
		top = top.Parent
	}
	if top.ID.PID != 1 {
		t.Errorf("lineage ends at process %d", top.ID.PID)
	}
	// The exec record makes the guessed parent exact and keeps the child's.
	own := observed(t, os.Getpid(), 3)
	if got := b.Lookup(own.ID); got.ID != own.ID {
		t.Errorf("guessed parent has id %v, want %v", got.ID, own.ID)
	}
	changed := b.Changed()
	if !slices.ContainsFunc(changed, func(q *event.Process) bool { return q.ID == e.ID && q.Parent.ID == own.ID }) {
		t.Errorf("child was not published with its parent's exact id: %d changed", len(changed))
	}
}

func TestRealLookupOther(t *testing.T) {
	b := newBench(t)
	id := observed(t, os.Getpid(), 1).ID
	id.Start -= 5 * tickNanos // a process of this number that ended long ago
	p := b.settled(id)
	if p.Executable.Kind != event.ExecutableUnknown || p.Executable.Reason != event.HashUnknown || p.Executable.Path != "" || len(p.Args) != 0 {
		t.Errorf("facts of the number's present owner: %+v", p)
	}
	if n := b.losses.of(event.LossProcUnreadable); n != 1 {
		t.Errorf("%d losses, want 1", n)
	}
	if b.Lookup(id); b.losses.of(event.LossProcUnreadable) != 1 {
		t.Error("the same unknown process was counted twice")
	}
}

func TestRealForkChain(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	for _, d := range []*string{&one, &two} {
		if err := os.Mkdir(*d, 0o755); err != nil {
			t.Fatal(err)
		}
		*d = shell(t, *d, "sh")
	}
	// one forks a child, which becomes two when it is told to.
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	cmd := command(one, "-c", "echo up; ( read a <&3; exec "+two+" -c 'echo two; sleep 60' ) & echo $!; wait")
	cmd.Env = []string{"PATH=/bin:/usr/bin"}
	cmd.ExtraFiles = []*os.File{in}
	stdout := startPiped(t, cmd)
	b.Exec(observed(t, cmd.Process.Pid, 2))
	parent := observed(t, cmd.Process.Pid, 2)
	child := readPID(t, stdout)
	forked := observed(t, child, 2)
	b.Fork(event.Fork{Child: forked.ID, Parent: parent.ID, Boot: forked.Boot, Comm: "one"})
	p := b.settled(forked.ID)
	checkExe(t, p, one, "", event.ExecutableFile, content(t, one))
	if p.Parent == nil || p.Parent.ID != parent.ID {
		t.Fatalf("parent of the forked child: %+v", p.Parent)
	}
	if _, err := out.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := stdout.ReadString('\n'); err != nil || line != "two\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	execed := observed(t, child, 3)
	execed.Parent = event.ProcessID{PID: 1} // reparented meanwhile, as far as the record goes
	b.Exec(execed)
	p = b.settled(execed.ID)
	checkExe(t, p, two, "", event.ExecutableFile, content(t, two))
	if p.Parent == nil || p.Parent.ID != parent.ID || p.Parent.Executable.Path != one {
		t.Errorf("parent after exec: %+v", p.Parent)
	}
	// The image before the exec is still what it was.
	old := b.Lookup(forked.ID)
	checkExe(t, old, one, "", event.ExecutableFile, content(t, one))
	_ = unix.Kill(child, unix.SIGKILL)
}

// A process that is gone is told by its record; its path is believed only where
// the host shows that very file.
func TestRealShortLived(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "prog")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("prog", link); err != nil {
		t.Fatal(err)
	}
	cmd := command(link, "-c", waiting)
	in, _ := cmd.StdinPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := observed(t, cmd.Process.Pid, 2)
	e.Filename = link
	in.Close()
	_ = cmd.Wait()

	b.Exec(e)
	b.Exit(event.Exit{ID: e.ID, Boot: bootNow()})
	p := b.settled(e.ID)
	if x := p.Executable; x.Path != sh || x.View != "" || x.Kind != event.ExecutableFile || x.File != e.File {
		t.Errorf("executable %+v, want %q on the host", x, sh)
	}
	if p.Executable.Reason != event.HashVanished || !slices.Equal(p.Args, e.Args) {
		t.Errorf("%+v", p)
	}

	// The same, but another file lies there by now.
	if err := os.Rename(sh, sh+".old"); err != nil {
		t.Fatal(err)
	}
	shell(t, dir, "prog")
	e.ID.Start += 5 * tickNanos
	b.Exec(e)
	if x := b.settled(e.ID).Executable; x.Path != link || x.View != event.ViewUnverified {
		t.Errorf("executable %q in view %q, want %q unverified", x.Path, x.View, link)
	}
	// The same, and the name is relative.
	e.ID.Start += 5 * tickNanos
	e.Filename = "./link"
	b.Exec(e)
	if x := b.settled(e.ID).Executable; x.Path != "./link" || x.View != event.ViewUnverified {
		t.Errorf("executable %q in view %q, want ./link unverified", x.Path, x.View)
	}
}

// The hasher saw the exec by fanotify and knows the path.
func TestRealPathFromHasher(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "prog")
	var st unix.Stat_t
	if err := unix.Stat(sh, &st); err != nil {
		t.Fatal(err)
	}
	f := &facts{claimed: true}
	f.exe = event.Executable{Path: "./prog", View: event.ViewUnverified, Kind: event.ExecutableFile}
	f.exe.File = event.FileID{Dev: uint64(unix.Major(st.Dev))<<20 | uint64(unix.Minor(st.Dev)), Inode: st.Ino, Ctime: st.Ctim.Nano()}
	b.setExecutable(f, event.HashResult{SHA256: event.Digest{1}, Reason: event.HashKnown, Path: sh, Links: 1})
	if f.exe.Path != sh || f.exe.View != "" || f.claimed {
		t.Errorf("executable %+v, want %q on the host", f.exe, sh)
	}
	gone := &facts{claimed: true, exe: event.Executable{Path: "./x", View: event.ViewUnverified, Kind: event.ExecutableFile, File: event.FileID{Inode: 1}}}
	b.setExecutable(gone, event.HashResult{Reason: event.HashKnown, Path: "/tmp/x (deleted)", Links: 0})
	if gone.exe.Path != "/tmp/x" || gone.exe.Kind != event.ExecutableDeleted || gone.exe.View != event.ViewUnverified {
		t.Errorf("deleted executable %+v", gone.exe)
	}
}

func TestRealDeleted(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "prog")
	sum := content(t, sh)
	pid := start(t, command(sh, "-c", waiting))
	e := observed(t, pid, 2)
	if err := os.Remove(sh); err != nil {
		t.Fatal(err)
	}
	b.Exec(e) // the record is from before
	checkExe(t, b.settled(e.ID), sh, "", event.ExecutableDeleted, sum)

	// A file may really be named so.
	odd := shell(t, dir, "prog (deleted)")
	pid = start(t, command(odd, "-c", waiting))
	e = observed(t, pid, 2)
	b.Exec(e)
	checkExe(t, b.settled(e.ID), odd, "", event.ExecutableFile, sum)

	// A hard link remains, but not under the name that was executed.
	two := shell(t, dir, "two")
	if err := os.Link(two, two+".other"); err != nil {
		t.Fatal(err)
	}
	pid = start(t, command(two, "-c", waiting))
	if err := os.Remove(two); err != nil {
		t.Fatal(err)
	}
	e = observed(t, pid, 2)
	b.Exec(e)
	checkExe(t, b.settled(e.ID), two, "", event.ExecutableDeleted, sum)
}

func TestRealMemfd(t *testing.T) {
	b := newBench(t)
	fd, err := unix.MemfdCreate("payload", 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "memfd")
	defer file.Close()
	sh := shell(t, t.TempDir(), "sh")
	src, err := os.Open(sh)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := io.Copy(file, src); err != nil {
		t.Fatal(err)
	}
	// fexecve: the child executes the descriptor that it inherits as 3.
	cmd := command("/proc/self/fd/3", "-c", waiting)
	ro, err := os.Open("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	file.Close() // "text file busy" otherwise
	cmd.ExtraFiles = []*os.File{ro}
	pid := start(t, cmd)
	e := observed(t, pid, 2)
	if !e.MemFD {
		t.Fatal("the program does not run from a memfd")
	}
	b.Exec(e)
	checkExe(t, b.settled(e.ID), "memfd:payload", "", event.ExecutableMemfd, content(t, sh))
	// Also without a record to say so.
	other := newBench(t)
	checkExe(t, other.settled(e.ID), "memfd:payload", "", event.ExecutableMemfd, content(t, sh))
}

func TestRealKernelThread(t *testing.T) {
	b := newBench(t)
	bpftest.Need(t, &bpftest.Feature{Name: "initial-pid-namespace", Probe: func() error {
		_, err := os.Stat("/proc/2/stat")
		return err
	}})
	raw, err := os.ReadFile("/proc/2/stat")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseStat(raw)
	if err != nil {
		t.Fatal(err)
	}
	p := b.settled(event.ProcessID{PID: 2, Start: s.tick * tickNanos})
	if p.Name != "kthreadd" || p.Executable.Kind != event.ExecutableKernel || p.Executable.Reason != event.HashNoFile || p.Parent != nil {
		t.Errorf("kthreadd is %+v", p)
	}
	if k := b.Lookup(event.ProcessID{}); k.Executable.Kind != event.ExecutableKernel || k.Name != "kernel" {
		t.Errorf("nobody is %+v", k)
	}
}

// The host's file is the one with the kernel's numbers and time of change.
func TestFind(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "sh")
	if err := os.Symlink("sh", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	fd, err := openAt(unix.AT_FDCWD, sh, unix.O_PATH)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(fd)
	s, err := statFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	right := b.host.identity(fd, s)
	tests := map[string]struct {
		path string
		edit func(*event.FileID)
		want string
	}{
		"the file":            {path: sh, want: sh},
		"a link to it":        {path: filepath.Join(dir, "link"), want: sh},
		"another inode":       {path: sh, edit: func(f *event.FileID) { f.Inode++ }},
		"another device":      {path: sh, edit: func(f *event.FileID) { f.Dev++ }},
		"changed since":       {path: sh, edit: func(f *event.FileID) { f.Ctime++ }},
		"not reported":        {path: sh, edit: func(f *event.FileID) { *f = event.FileID{} }},
		"nothing there":       {path: sh + "x"},
		"name that is no use": {path: "/a\x00b"},
	}
	for name, tt := range tests {
		file := right
		if tt.edit != nil {
			tt.edit(&file)
		}
		if got, _, ok := b.host.find(tt.path, file); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s: find = %q, %v; want %q", name, got, ok, tt.want)
		}
	}
}

// A digest that arrives for facts that were taken back changes nothing.
func TestLateDigest(t *testing.T) {
	b := newBench(t)
	e := observed(t, start(t, command(shell(t, t.TempDir(), "sh"), "-c", waiting)), 2)
	b.hasher.delay = 100 * time.Millisecond
	b.Lookup(e.ID)
	next := e
	next.ID.Exec, next.Boot = 3, bootNow()-1 // it had become the next image before it was read
	b.images[e.ID].facts.readAt = bootNow()
	b.Exec(next)
	if p := b.settled(e.ID); p.Executable.Kind != event.ExecutableUnknown || !p.Executable.SHA256.IsZero() {
		t.Errorf("taken back: %+v", p.Executable)
	}
}
