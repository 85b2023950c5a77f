package digest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// thrice is a process (this one) that executes one file, removes it, and
// executes another one that got the inode number, size and times of the first.
// Nobody reads fanotify unless look is called.
type thrice struct {
	*rig
	path          string
	dev           uint64
	first, third  []byte
	before, after event.HashRequest
}

// TestThirdFileOnTheInodeOfTheFirst asks what the second of two such files was
// while only the execution of the first was sighted.
func TestThirdFileOnTheInodeOfTheFirst(t *testing.T) {
	t.Run("generation", func(t *testing.T) {
		p := execThrice(t, mountImage(t, "ext3"))
		answer := p.unanswered(p.after)
		p.look()
		wantDigest(t, <-answer, p.third)
		wantDigest(t, p.ask(p.before), p.first)
	})
	t.Run("no generation", func(t *testing.T) {
		p := execThrice(t, stack(t, mountImage(t, "ext3"), nil))
		answers := []<-chan event.HashResult{p.unanswered(p.after), p.unanswered(p.before)}
		p.look()
		for _, answer := range answers {
			wantReason(t, <-answer, event.HashVanished)
		}
	})
	t.Run("sighting missed", func(t *testing.T) {
		p := execThrice(t, stack(t, mountImage(t, "ext3"), nil))
		answer := p.unanswered(p.after)
		p.missed(nil)
		p.discard()
		wantReason(t, <-answer, event.HashVanished)
	})
}

// execThrice tries until both files fall into one tick of the clock.
func execThrice(t *testing.T, dir string) *thrice {
	t.Helper()
	needFanotify(t)
	r := newRig(t, Config{})
	for i := range r.groups {
		r.openGate(i)
	}
	p := &thrice{rig: r, dev: superblockAt(t, dir), path: filepath.Join(dir, "file"), first: bytes.Repeat([]byte("first"), 20), third: bytes.Repeat([]byte("third"), 20)}
	const attempts = 500
	for range attempts {
		room(t, dir)
		p.before = p.execute(p.first)
		p.look()
		p.landed()
		if err := os.Remove(p.path); err != nil {
			t.Fatal(err)
		}
		p.after = p.execute(p.third)
		if p.before.File.Inode == p.after.File.Inode && stateOf(p.before.File) == stateOf(p.after.File) {
			return p
		}
		p.look()
		if err := os.Remove(p.path); err != nil {
			t.Fatal(err)
		}
		r.mu.Lock()
		r.sightings = sightings{}
		r.mu.Unlock()
	}
	t.Skip("missing feature: a file system that gives an inode number again within a tick")
	return nil
}

// room waits until the file system, which is small, has room for two more files:
// those that were removed are gone only when the last descriptor is closed and
// the journal is written.
func room(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const files, blocks = 16, 256
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		var free unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &free); err != nil {
			t.Fatal(err)
		}
		if free.Ffree >= files && free.Bfree >= blocks {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has room for %d files, in %d blocks", dir, free.Ffree, free.Bfree)
		}
		if err := unix.Syncfs(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
	}
}

// landed waits until all that was sighted is read, and hurries.
func (p *thrice) landed() {
	for {
		p.mu.Lock()
		n := len(p.flights)
		p.mu.Unlock()
		if n == 0 {
			return
		}
		runtime.Gosched()
	}
}

// execute tries to: the kernel opens the file, tells fanotify, and finds that
// it is no program.
func (p *thrice) execute(content []byte) event.HashRequest {
	p.t.Helper()
	install(p.t, p.path, content)
	boot := bootTime(p.t)
	name, err := unix.BytePtrFromString(p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	argv := [2]*byte{name, nil}
	_, _, errno := syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&argv)), uintptr(unsafe.Pointer(&argv[1])))
	if !errors.Is(errno, unix.ENOEXEC) {
		p.t.Fatalf("executing what is no program says %v", errno)
	}
	f := fileID(p.t, p.path)
	f.Dev = p.dev
	return event.HashRequest{ID: event.ProcessID{PID: uint32(os.Getpid()), Exec: 1, Start: 1}, File: f, Boot: boot}
}

// superblockAt is the device number that the kernel has for a file.
func superblockAt(t testing.TB, path string) uint64 {
	t.Helper()
	handle, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(handle)
	table, err := newMounts("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer table.close()
	m, ok := mountOf(handle, table.current())
	if !ok {
		t.Fatalf("no mount has %s", path)
	}
	return m.dev
}

// look is one turn of the readers.
func (p *thrice) look() { p.turn(p.Hasher) }

// discard is a turn that loses all events.
func (p *thrice) discard() { p.turn(deafSink{}) }

func (p *thrice) turn(sink fanSink) {
	var buf [4096]byte
	for i, g := range p.groups {
		ticket := p.ticket()
		if err := g.conn.Control(func(fd uintptr) { g.drain(int(fd), buf[:], sink) }); err != nil {
			p.t.Fatal(err)
		}
		p.settle(i, ticket)
	}
}

// deafSink hears nothing.
type deafSink struct{}

func (deafSink) executed(_ *group, _ uint32, fd int) { _ = unix.Close(fd) }
func (deafSink) changed(*group, int)                 {}
func (deafSink) missed(*group)                       {}
func (deafSink) overflowed(*group)                   {}

// unanswered asks, and fails if there is an answer before anybody reads
// fanotify.
func (p *thrice) unanswered(req event.HashRequest) <-chan event.HashResult {
	p.t.Helper()
	answers := make(chan event.HashResult, 2)
	r, ok := p.Executable(req, func(r event.HashResult) { answers <- r })
	if ok {
		p.t.Fatalf("answered %v %v before the execution was sighted", r.Reason, r.SHA256)
	}
	select {
	case r := <-answers:
		p.t.Fatalf("answered %v %v before the execution was sighted", r.Reason, r.SHA256)
	case <-time.After(100 * time.Millisecond):
	}
	return answers
}
