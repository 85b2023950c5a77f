package process

import (
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A read that blocks costs a bounded time, a bounded number of goroutines, and
// leaves no descriptor behind.
func TestGuardRead(t *testing.T) {
	before := openDescriptors()
	g := newGuard()
	g.wait = 20 * time.Millisecond
	var pipes []*os.File
	for range 3 * guardSlots {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		pipes = append(pipes, r, w)
		began := time.Now()
		_, err = g.read(int(r.Fd()), 10)
		if took := time.Since(began); took > 50*g.wait {
			t.Errorf("a blocked read took %v", took)
		}
		if !errors.Is(err, errSlow) && !errors.Is(err, errRefused) {
			t.Errorf("a blocked read gave %v", err)
		}
	}
	if n := len(g.slots); n != guardSlots {
		t.Errorf("%d reads are stuck, want %d", n, guardSlots)
	}
	for _, p := range pipes {
		p.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); len(g.slots) > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("answer"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if b, err := g.read(int(r.Fd()), 10); err != nil || string(b) != "answer" {
		t.Errorf("after the others ended: %q, %v", b, err)
	}
	r.Close()
	for deadline := time.Now().Add(5 * time.Second); openDescriptors() > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if after := openDescriptors(); after > before {
		t.Errorf("%d descriptors are left of %d", after, before)
	}
}

// What comes too late is freed, and all waiting together has a bound.
func TestGuardLate(t *testing.T) {
	g := newGuard()
	g.wait, g.budget = 20*time.Millisecond, 10*time.Millisecond
	release, freed := make(chan struct{}), make(chan int)
	_, err := run(g, func() (int, error) { <-release; return 7, nil }, func(v int) { freed <- v })
	if !errors.Is(err, errSlow) {
		t.Fatalf("run = %v, want %v", err, errSlow)
	}
	var called atomic.Bool
	if _, err := run(g, func() (int, error) { called.Store(true); return 0, nil }, func(int) {}); !errors.Is(err, errRefused) || called.Load() {
		t.Errorf("run without time left = %v, called %v", err, called.Load())
	}
	close(release)
	if v := <-freed; v != 7 {
		t.Errorf("freed %d, want 7", v)
	}
}

// A call that runs, or would if others let it, is no slow one.
func TestGuardBusy(t *testing.T) {
	g := newGuard()
	g.wait, g.most = 10*time.Millisecond, time.Minute
	random := make([]byte, 16<<20)
	n, err := run(g, func() (int, error) { return unix.Getrandom(random, 0) }, func(int) {})
	if err != nil || n == 0 {
		t.Errorf("a call that only needs the processor: %d, %v", n, err)
	}
}

func TestGuardOpen(t *testing.T) {
	g := newGuard()
	dir := t.TempDir()
	d, err := openAt(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(d)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}
	if _, err := g.open(d, "no", how); !errors.Is(err, unix.ENOENT) {
		t.Errorf("open of nothing = %v", err)
	}
	write(t, dir+"/yes", "")
	fd, err := g.open(d, "yes", how)
	if err != nil {
		t.Fatal(err)
	}
	closeFD(fd)
}
