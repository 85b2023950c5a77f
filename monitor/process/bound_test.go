package process

import (
	"os"
	"strconv"
	"testing"
	"time"

	"snitch/monitor/event"
)

// onPaper is a table whose /proc shows no process at all.
func onPaper(t testing.TB, cfg Config) (*Table, *losses) {
	t.Helper()
	w := newWorld(t, t.TempDir())
	cfg.Proc = w.proc
	l := &losses{}
	table, err := New(cfg, Deps{Hasher: &digests{}, Loss: l.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(table.Close)
	return table, l
}

func id(pid, execNumber uint32, start uint64) event.ProcessID {
	return event.ProcessID{PID: pid, Exec: execNumber, Start: start * tickNanos}
}

// forked tells table of a process that child's parent forked.
func forked(table *Table, child, parent event.ProcessID) {
	table.Fork(event.Fork{Child: child, Parent: parent, Boot: child.Start, Comm: "x"})
}

// A million forks, living ones and ended ones, do not make the table grow.
func TestMillionForks(t *testing.T) {
	const limit = 1000
	table, lost := onPaper(t, Config{MaxProcesses: limit})
	first := id(1, 0, 1)
	table.Exec(event.Exec{ID: first, Boot: first.Start, Filename: "/init", Comm: "init"})
	for n := range uint32(1_000_000) {
		child := id(2+n%4_000_000, 0, uint64(n)+2)
		forked(table, child, first)
		if n%3 != 0 {
			table.Exit(event.Exit{ID: child, Boot: child.Start + 1})
		}
		if n%1000 == 0 && table.Len() > limit {
			t.Fatalf("%d images after %d forks, want at most %d", table.Len(), n, limit)
		}
	}
	if len(table.current) > limit || len(table.announced) > limit {
		t.Errorf("indexes have %d and %d entries", len(table.current), len(table.announced))
	}
	if lost.of(event.LossProcessTable) == 0 {
		t.Error("running processes were forgotten, but not counted")
	}
	if p := table.Lookup(first); p.Name != "init" {
		t.Errorf("the parent of all was forgotten: %+v", p)
	}
}

// Each process forks the next and exits: the lineage is long, what is kept of
// it is not.
func TestForkChain(t *testing.T) {
	table, _ := onPaper(t, Config{Grace: time.Second})
	last := id(1, 0, 1)
	table.Exec(event.Exec{ID: last, Boot: last.Start, Filename: "/init", Comm: "init"})
	const length = 20_000
	for n := uint32(2); n < length; n++ {
		child := id(n, 0, uint64(n))
		forked(table, child, last)
		table.Exit(event.Exit{ID: last, Boot: child.Start + 1})
		last = child
	}
	table.Expire(last.Start + 2*uint64(time.Second))
	if n := table.Len(); n != event.MaxAncestors+1 {
		t.Errorf("%d images are kept, want the living one and %d ancestors", n, event.MaxAncestors)
	}
	kept := 0
	for i := table.images[last]; i != nil; i = i.parent {
		kept++
	}
	if kept != event.MaxAncestors+1 {
		t.Errorf("%d images are held by the living one", kept)
	}
	p := table.Lookup(last)
	if p.Ancestor(event.MaxAncestors) == nil || p.Ancestor(event.MaxAncestors+1) != nil {
		t.Errorf("lineage does not have %d ancestors", event.MaxAncestors)
	}
	if again := table.Lookup(last); again != p || len(table.Changed()) != 0 {
		t.Error("nothing changed, but the snapshot did")
	}
	table.Exit(event.Exit{ID: last, Boot: last.Start + 1})
	table.Expire(last.Start + 10*uint64(time.Second))
	if n := table.Len(); n != 0 {
		t.Errorf("%d images are left after all ended", n)
	}
}

func TestExpire(t *testing.T) {
	table, lost := onPaper(t, Config{Grace: 10 * time.Second})
	parent, child := id(1, 0, 1), id(2, 0, 2)
	table.Exec(event.Exec{ID: parent, Boot: parent.Start, Filename: "/p", Comm: "p"})
	forked(table, child, parent)
	table.Lookup(child)
	second := uint64(time.Second)
	table.Exit(event.Exit{ID: parent, Boot: second})
	table.Expire(60 * second)
	if p := table.Lookup(child); p.Parent == nil || p.Parent.Name != "p" || table.Len() != 2 {
		t.Errorf("the ended parent of a running process was forgotten: %+v", p)
	}
	table.Exit(event.Exit{ID: child, Boot: 61 * second})
	table.Expire(70 * second)
	if table.Len() != 2 {
		t.Error("forgotten within the grace time")
	}
	table.Expire(72 * second)
	if table.Len() != 0 || len(table.announced) != 0 || len(table.current) != 0 {
		t.Errorf("%d images, %d announced, %d running are left", table.Len(), len(table.announced), len(table.current))
	}
	if n := lost.of(event.LossProcUnreadable); n != 0 {
		t.Errorf("%d losses where none was", n)
	}
}

// A number that is used again, with the exit of its first owner lost.
func TestReusedNumber(t *testing.T) {
	table, _ := onPaper(t, Config{})
	first, second := id(7, 1, 5), id(7, 1, 9)
	table.Exec(event.Exec{ID: first, Boot: 1, Filename: "/first", Comm: "first"})
	table.Exec(event.Exec{ID: second, Boot: 2, Filename: "/second", Comm: "second"})
	if a, b := table.Lookup(first), table.Lookup(second); a.Name != "first" || b.Name != "second" {
		t.Errorf("%q and %q", a.Name, b.Name)
	}
	if i := table.images[first]; i.ended == 0 {
		t.Error("the first owner still runs")
	}
}

// A lost exec record: the later image is not taken for the earlier one.
func TestLostExec(t *testing.T) {
	table, lost := onPaper(t, Config{})
	parent, image := id(1, 0, 1), id(2, 3, 2)
	table.Exec(event.Exec{ID: parent, Boot: 1, Filename: "/p", Comm: "p"})
	forked(table, image, parent)
	later := image
	later.Exec++
	p := table.Lookup(later)
	if p.Executable.Kind != event.ExecutableUnknown || p.Parent == nil || p.Parent.ID != parent {
		t.Errorf("later image: %+v, parent %+v", p.Executable, p.Parent)
	}
	if q := table.Lookup(image); q.Name != "x" || q.Executable.Path != "/p" {
		t.Errorf("earlier image: %+v", q)
	}
	if lost.of(event.LossProcUnreadable) != 1 {
		t.Error("the unknown image was not counted once")
	}
}

// A snapshot may name children before their parents.
func TestSnapshotOrder(t *testing.T) {
	b := newBench(t)
	own, parent := observed(t, os.Getpid(), 1), observed(t, os.Getppid(), 1)
	own.Parent = parent.ID
	b.Snapshot(event.Snapshot{Exec: own})
	b.Snapshot(event.Snapshot{Exec: parent})
	p := b.settled(own.ID)
	if p.Parent == nil || p.Parent.ID != parent.ID || p.Parent.Executable.Path != readlink(t, "/proc/"+strconv.Itoa(os.Getppid())+"/exe") {
		t.Errorf("parent: %+v", p.Parent)
	}
	if len(p.Args) != len(os.Args) || p.Executable.SHA256 != content(t, "/proc/self/exe") {
		t.Errorf("own: %+v", p)
	}
}
