package verdict

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/bpf/bpftest"
	"snitch/monitor/event"
)

// ownFileSystem is a tmpfs of the test's own: programs elsewhere are not held.
func ownFileSystem(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("snitch-test", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A program that nobody has ever seen is known at its first datagram: the
// denied one is refused, the allowed one passes, though the default is the
// other. The programs are started by a child: who holds them must not fork.
func TestNewProgramsAreKnown(t *testing.T) {
	dir := ownFileSystem(t)
	l := newLabOf(t, Config{Programs: []string{dir}})
	l.serve(8080)
	l.serve(9090)
	launcher := l.start()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	l.set(nil, out("no-9090", event.ActionDeny, dir+"/*", 9090))
	tap := l.tap()
	programs := 10
	if testing.Short() {
		programs = 2 // a program with the race detector takes a second to end
	}
	for i := range programs {
		path := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(path, self, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, way := range []string{"udp", "sendto", "tcp"} {
			if errno, _ := launcher.do("run %s %s %s:9090", path, way, bpftest.ServerV4); errno != unix.EPERM {
				t.Errorf("%s of a new program that is denied: %v, want EPERM", way, errno)
			}
		}
		if errno, _ := launcher.do("run %s udp %s:8080", path, bpftest.ServerV4); errno != 0 {
			t.Errorf("a new program that is allowed: %v", errno)
		}
		if err := os.Remove(path); err != nil { // its memory
			t.Fatal(err)
		}
	}
	tap.none(9090)
	counts, err := l.kernel.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if counts[bpf.CountPromoted] != 4*uint64(programs) || l.preload.late.Load() != 0 {
		t.Errorf("%d programs were promoted, %d let go late; want %d, 0", counts[bpf.CountPromoted], l.preload.late.Load(), 4*programs)
	}
}

// FuzzNextExec holds that no bytes make the reader of events fail.
func FuzzNextExec(f *testing.F) {
	f.Add([]byte{24, 0, 0, 0, 3, 0, 24, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, buf []byte) {
		for len(buf) > 0 {
			before := len(buf)
			if len(buf) >= execHeader { // a descriptor would be ours to close
				copy(buf[16:], []byte{0xff, 0xff, 0xff, 0xff})
			}
			var err error
			if _, buf, err = nextExec(buf); err == nil && len(buf) >= before {
				t.Fatal("no progress")
			}
		}
	})
}
