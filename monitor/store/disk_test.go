package store

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// canMount is the right, and the file system, to mount a tmpfs.
var canMount = &bpftest.Feature{Name: "tmpfs-mount", Probe: func() error {
	if os.Geteuid() != 0 {
		return errors.New("mounting needs root")
	}
	return nil
}}

// tmpfs mounts a file system of the given size for the test.
func tmpfs(t *testing.T, bytes int) string {
	t.Helper()
	bpftest.Need(t, canMount)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// counts are what the loss callback was told.
type counts struct {
	mu sync.Mutex
	n  map[event.LossCause]uint64
}

func (c *counts) add(cause event.LossCause, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[event.LossCause]uint64{}
	}
	c.n[cause] += n
}

func (c *counts) get(cause event.LossCause) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[cause]
}

// TestDiskFull fills the disk for real: rows wait, the oldest are counted as
// lost, and when there is room again the rest is written, nothing twice.
func TestDiskFull(t *testing.T) {
	dir := tmpfs(t, 4<<20)
	var lost counts
	s := open(t, dir, func(c *Config) { c.MaxPending, c.Loss = 200, lost.add })
	s.Append(batch(base, connection(1, base, 7, 7)))
	flush(t, s)
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)

	id, generated := uint64(1), uint64(7)
	add := func(n int) {
		for range n {
			id++
			c := connection(id, base.Add(time.Duration(id)), 100, 0)
			c.Closed, generated = true, generated+100
			c.Process.Args = []string{strings.Repeat("x", 2000), fmt.Sprint(id)} // needs pages
			s.Append(batch(base, c))
		}
	}
	for range 20 {
		add(50)
		if s.Flush(t.Context()) != nil {
			break
		}
	}
	st := s.Stats()
	if st.LastError == "" || !strings.Contains(st.LastError, "full") && !strings.Contains(st.LastError, "disk") {
		t.Fatalf("the disk is not full: %+v", st)
	}
	add(500)
	if err := s.Flush(t.Context()); err == nil {
		t.Fatal("a flush succeeded on a full disk")
	}
	if st = s.Stats(); st.Pending > 200 || st.Lost == 0 || st.Lost != lost.get(event.LossStore) || st.LostBytes != 100*st.Lost ||
		st.LostBytes != lost.get(event.LossStoreBytes) {
		t.Errorf("stats on a full disk: %+v, callback %v", st, lost.n)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	if st = s.Stats(); st.Pending != 0 || st.LastError != "" {
		t.Errorf("stats after there was room again: %+v", st)
	}
	if got := uint64(number(t, s, "SELECT sum(sent) FROM connection")); got+st.LostBytes != generated {
		t.Errorf("recorded %d + lost %d bytes, generated %d", got, st.LostBytes, generated)
	}
	if got := uint64(number(t, s, "SELECT sum(sent) FROM loss WHERE cause = 12")); got != st.LostBytes {
		t.Errorf("table loss says %d bytes, lost are %d", got, st.LostBytes)
	}
	checkWhole(t, s)
}

// fill leaves no room on the file system of path.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func checkWhole(t *testing.T, s *Store) {
	t.Helper()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if err := errors.Join(soundConn(s.w.c), whole(s.w.c)); err != nil {
		t.Error(err)
	}
}

// TestNoRoomAtStart: the store opens, says why it does not write, and writes
// once it can.
func TestNoRoomAtStart(t *testing.T) {
	dir := tmpfs(t, 1<<20)
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	s := open(t, dir)
	s.Append(batch(base, connection(1, base, 7, 7)))
	if err := s.Flush(t.Context()); err == nil {
		t.Fatal("a flush succeeded on a full disk")
	}
	if st := s.Stats(); st.LastError == "" || st.Pending != 1 {
		t.Errorf("stats = %+v, want an error and a row that waits", st)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	checkWhole(t, s)
	if n := number(t, s, "SELECT sum(sent) FROM connection"); n != 7 {
		t.Errorf("bytes = %d, want 7", n)
	}
}

// TestReadOnly: a file system that is read-only at start, becomes writable,
// and is read-only again after the file was closed.
func TestReadOnly(t *testing.T) {
	dir := tmpfs(t, 8<<20)
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	var lost counts
	s := open(t, dir, func(c *Config) { c.MaxPending, c.Loss = 2, lost.add })
	for id := range uint64(3) {
		c := connection(id+1, base, 10, 0)
		c.Closed = true
		s.Append(batch(base, c))
	}
	if err := s.Flush(t.Context()); !errors.Is(err, unix.EROFS) {
		t.Fatalf("flush on a read-only file system: %v, want EROFS", err)
	}
	remount(0)
	flush(t, s)
	if n := number(t, s, "SELECT sum(sent) FROM connection"); n != 20 || lost.get(event.LossStoreBytes) != 10 {
		t.Errorf("recorded %d and lost %d bytes, want 20 and 10", n, lost.get(event.LossStoreBytes))
	}
	checkWhole(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remount(unix.MS_RDONLY)
	s = open(t, dir, func(c *Config) { c.Loss = lost.add })
	c := connection(9, base, 5, 0)
	s.Append(batch(base, c))
	if err := s.Close(); err == nil {
		t.Error("close on a read-only file system lost a row and said nothing")
	}
	if lost.get(event.LossStore) != 2 || lost.get(event.LossStoreBytes) != 15 {
		t.Errorf("lost %v, want 2 rows and 15 bytes", lost.n)
	}
}

// TestCorruptAtStart damages the file in every way a test can think of; Open
// must set it aside and begin anew, or, where nothing that counts was hit, go
// on with it.
func TestCorruptAtStart(t *testing.T) {
	const wantNew, wantEither = true, false
	random := rand.New(rand.NewPCG(1, 2))
	cases := []struct {
		name   string
		aside  bool
		damage func(b []byte) []byte
	}{
		{"header overwritten", wantNew, func(b []byte) []byte { copy(b, "garbage garbage garbage"); return b }},
		{"all garbage", wantNew, func(b []byte) []byte {
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			return b
		}},
		{"all zeros", wantNew, func(b []byte) []byte { clear(b); return b }},
		{"cut to one byte", wantNew, func(b []byte) []byte { return b[:1] }},
		{"cut in the header", wantNew, func(b []byte) []byte { return b[:80] }},
		{"cut in half", wantNew, func(b []byte) []byte { return b[:len(b)/2/4096*4096] }},
		{"cut within a page", wantNew, func(b []byte) []byte { return b[:4096*3+100] }},
		{"schema page overwritten", wantNew, func(b []byte) []byte { clear(b[100:4096]); return b }},
		{"pages overwritten", wantNew, func(b []byte) []byte {
			for i := 4096 * 2; i < len(b); i++ {
				b[i] = byte(random.Uint32())
			}
			return b
		}},
		{"one bit", wantEither, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }},
		{"empty", wantEither, func([]byte) []byte { return nil }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filled(t, dir)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damaged := tc.damage(content)
			if err := os.WriteFile(path, damaged, 0o640); err != nil {
				t.Fatal(err)
			}
			s := open(t, dir)
			s.Append(batch(base, connection(1, base, 7, 7)))
			flush(t, s)
			kept, err := filepath.Glob(path + ".corrupt-*Z")
			if err != nil {
				t.Fatal(err)
			}
			if tc.aside {
				if len(kept) != 1 || s.Stats().Quarantined != 1 {
					t.Fatalf("kept %v, stats %+v, want one corrupt file", kept, s.Stats())
				}
				if got, err := os.ReadFile(kept[0]); err != nil || string(got) != string(damaged) {
					t.Errorf("the corrupt file was changed (%v)", err)
				}
				checkWhole(t, s)
			}
		})
	}
}

// filled makes a closed database of many pages.
func filled(t *testing.T, dir string) string {
	t.Helper()
	s := open(t, dir)
	for id := range uint64(3000) {
		c := connection(id+1, base.Add(time.Duration(id)*time.Second), 1, 1)
		c.Name.Domain = fmt.Sprintf("host%d.example.org", id)
		s.Append(batch(base, c))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, schema.FileName)
}

// TestCorruptAtRunTime damages the open file: the batch that meets it is not
// lost, and open connections get rows with their totals in the new file.
func TestCorruptAtRunTime(t *testing.T) {
	dir := t.TempDir()
	path := filled(t, dir)
	s := open(t, dir)
	c := connection(1, base, 50, 0)
	s.Append(batch(base, c))
	flush(t, s)
	if _, err := s.w.c.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Seek(0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, size-4096), 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for id := range uint64(2000) { // enough to need pages that are not cached
		more := connection(id+2, base.Add(time.Duration(id)*time.Second), 1, 0)
		more.Name.Domain = fmt.Sprintf("other%d.example.org", id)
		s.Append(batch(base, more))
	}
	c.Sent = 60
	s.Append(batch(base, c))
	flush(t, s)
	if st := s.Stats(); st.Quarantined != 1 || st.Lost != 0 || st.Pending != 0 {
		t.Fatalf("stats = %+v, want one corrupt file and nothing lost", st)
	}
	if n := number(t, s, "SELECT sent FROM connection WHERE id = 1"); n != 60 {
		t.Errorf("the open connection has %d bytes in the new file, want its total of 60", n)
	}
	if n := number(t, s, "SELECT sum(sent) FROM connection"); n != 2060 {
		t.Errorf("%d bytes in the new file, want 2060", n)
	}
	checkWhole(t, s)
	if n := number(t, s, "SELECT count(*) FROM run"); n != 1 {
		t.Errorf("%d runs in the new file, want 1", n)
	}
}

// TestQuarantineIsBounded: the newest few corrupt files are kept, with their logs.
func TestQuarantineIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, schema.FileName)
	for i := range asideKept + 2 {
		for _, name := range []string{path, path + "-wal"} {
			if err := os.WriteFile(name, fmt.Appendf(nil, "garbage %d", i), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir, func(c *Config) { c.Now = func() time.Time { return base.Add(time.Duration(i/2) * time.Second) } })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := filepath.Glob(path + ".corrupt-*")
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 2*asideKept {
		t.Fatalf("kept %q, want %d files with their logs", kept, asideKept)
	}
	for _, name := range kept {
		if b, err := os.ReadFile(name); err != nil || string(b) < "garbage 2" {
			t.Errorf("%s holds %q (%v), the oldest should be gone", name, b, err)
		}
	}
}

// TestRemovedFile: someone deletes the database under the running daemon.
func TestRemovedFile(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	c := connection(1, base, 50, 0)
	s.Append(batch(base, c))
	flush(t, s)
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	c.Sent = 70
	s.Append(batch(base, c))
	flush(t, s)
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		t.Fatal("there is no new file")
	}
	if n := number(t, s, "SELECT sum(sent) FROM connection"); n != 70 {
		t.Errorf("bytes in the new file = %d, want 70", n)
	}
	checkWhole(t, s)
}

// TestForcedReadOnly lets ext4 turn read-only under the open file, as it does
// on an input/output error: nothing is committed, nothing crashes, and what
// does not fit in memory is counted.
func TestForcedReadOnly(t *testing.T) {
	dir, trigger := ext4(t)
	var lost counts
	s := open(t, dir, func(c *Config) { c.MaxPending, c.Loss = 10, lost.add })
	first := connection(1, base, 7, 7)
	s.Append(batch(base, first))
	flush(t, s)
	if err := os.WriteFile(trigger, []byte("test of a store"), 0); err != nil {
		t.Fatal(err)
	}
	for id := range uint64(50) {
		c := connection(id+2, base, 1, 1)
		c.Closed = true
		s.Append(batch(base, c))
	}
	if err := s.Flush(t.Context()); err == nil {
		t.Fatal("a flush succeeded on a read-only file system")
	}
	if st := s.Stats(); st.Pending > 10 || st.Lost != 40 || lost.get(event.LossStore) != 40 {
		t.Errorf("stats = %+v, callback %v, want 40 rows lost and 10 waiting", st, lost.n)
	}
	if err := s.Close(); err == nil {
		t.Error("close lost rows and said nothing")
	}
	if got := lost.get(event.LossStore); got != 50 {
		t.Errorf("%d rows lost after close, want 50", got)
	}
}

// canExt4 is an ext4 in a loop device, which can be told to fail.
var canExt4 = &bpftest.Feature{Name: "ext4-loop", Config: "CONFIG_EXT4_FS", Probe: func() error {
	if os.Geteuid() != 0 {
		return errors.New("mounting needs root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return err
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		return err
	}
	_, err := os.Stat("/sys/fs/ext4")
	return err
}}

// ext4 makes and mounts a small ext4 that turns read-only on errors, and
// returns the file that provokes one.
func ext4(t *testing.T) (dir, trigger string) {
	t.Helper()
	bpftest.Need(t, canExt4)
	dir = t.TempDir()
	image := filepath.Join(t.TempDir(), "image")
	for _, c := range [][]string{
		{"truncate", "-s", "16M", image},
		{"mkfs.ext4", "-q", image},
		{"mount", "-o", "loop,errors=remount-ro", image, dir},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	device, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		t.Fatal(err)
	}
	return dir, "/sys/fs/ext4/" + filepath.Base(device) + "/trigger_fs_error"
}
