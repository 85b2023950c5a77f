package digest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

func TestLiveProcess(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true})
	content := program(t, "sleep")
	path := install(t, filepath.Join(t.TempDir(), "prog"), content)
	age()
	cmd := start(t, path, "60")
	req := request(t, cmd.Process.Pid, path)
	got := r.ask(req)
	wantDigest(t, got, content)
	if got.Path != path || got.Links != 1 {
		t.Errorf("got path %q with %d links, want %q with 1", got.Path, got.Links, path)
	}
	hit, ok := r.Executable(req, func(event.HashResult) { t.Error("done called for a cached digest") })
	if !ok {
		t.Fatal("the second request for the same file was not answered at once")
	}
	wantDigest(t, hit, content)
	if s := r.Stats(); s.Entries != 1 || s.Hits != 1 || s.Misses != 1 || s.Pending != 0 || s.Final[event.HashKnown] != 1 || s.Fanotify != "switched off" {
		t.Errorf("stats: %+v", s)
	}
}

func TestUnnamedExecutables(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true})
	t.Run("deleted after exec", func(t *testing.T) {
		content := program(t, "sleep")
		path := install(t, filepath.Join(t.TempDir(), "prog"), content)
		cmd := start(t, path, "60")
		req := request(t, cmd.Process.Pid, path) // its ctime is older than that of the unlink
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if !r.protected {
			t.Skip("missing feature: the kernel lets running programs be written (6.11, 6.12)")
		}
		got := r.ask(req)
		wantDigest(t, got, content)
		if got.Links != 0 {
			t.Errorf("got %d links, want 0", got.Links)
		}
	})
	t.Run("replaced by another file", func(t *testing.T) {
		content := program(t, "sleep")
		dir := t.TempDir()
		path := install(t, filepath.Join(dir, "prog"), content)
		cmd := start(t, path, "60")
		req := request(t, cmd.Process.Pid, path)
		other := install(t, filepath.Join(dir, "new"), program(t, "true"))
		if err := os.Rename(other, path); err != nil {
			t.Fatal(err)
		}
		wantDigest(t, r.ask(req), content)
	})
	t.Run("memfd", func(t *testing.T) {
		content := program(t, "sleep")
		fd, err := unix.MemfdCreate("hidden", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, content); err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "memfd")
		ro, err := os.Open(descriptorPath(fd))
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		defer ro.Close()
		cmd := exec.Command("/proc/self/fd/3", "60")
		cmd.ExtraFiles = []*os.File{ro}
		launch(t, cmd)
		got := r.ask(request(t, cmd.Process.Pid, descriptorPath(int(ro.Fd()))))
		wantDigest(t, got, content)
		if got.Links != 0 {
			t.Errorf("got %d links, want 0", got.Links)
		}
	})
}

// TestAnotherImage covers a process that executed something else after the
// image that was asked for.
func TestAnotherImage(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true})
	first := program(t, "sleep")
	path := install(t, filepath.Join(t.TempDir(), "first"), first)
	time.Sleep(settledMargin + 100*time.Millisecond)
	cmd := start(t, install(t, filepath.Join(t.TempDir(), "second"), program(t, "sleep")), "60")
	req := request(t, cmd.Process.Pid, path)
	wantReason(t, r.ask(req), event.HashVanished)
	req.Path = path
	wantDigest(t, r.ask(req), first)
	if n := r.lost.Load(); n != 1 {
		t.Errorf("%d losses counted, want 1", n)
	}
}

// TestPathThatLies hands the path of a file that is not the executed one.
func TestPathThatLies(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true})
	dir := t.TempDir()
	path := install(t, filepath.Join(dir, "prog"), program(t, "true"))
	time.Sleep(settledMargin + 100*time.Millisecond)
	cmd := start(t, "/bin/sleep", "60")
	gone := request(t, cmd.Process.Pid, path)
	gone.ID.PID = 1<<22 + 1 // above pid_max
	gone.Path = path
	for name, change := range map[string]func(*event.FileID){
		"device": func(f *event.FileID) { f.Dev++ },
		"inode":  func(f *event.FileID) { f.Inode++ },
		"size":   func(f *event.FileID) { f.Size++ },
		"mtime":  func(f *event.FileID) { f.Mtime++ },
		"ctime":  func(f *event.FileID) { f.Ctime++ },
	} {
		req := gone
		change(&req.File)
		if got := r.ask(req); got.Reason != event.HashVanished {
			t.Errorf("%s differs: got %v, want vanished", name, got.Reason)
		}
	}
	young := gone
	young.ID.Start = 1 // executed when the file was not yet older than its timestamp's grain
	wantReason(t, r.ask(young), event.HashVanished)
	if got := r.ask(gone); got.Reason != event.HashKnown {
		t.Errorf("the same file: got %v, want known", got.Reason)
	}
}

func TestProcessesWithoutAnswer(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true, MaxSize: 1 << 20})
	cmd := start(t, "/bin/sleep", "60")
	req := request(t, cmd.Process.Pid, "/bin/sleep")
	stale := req
	stale.ID.Start += 3 * clockTick
	wantReason(t, r.ask(stale), event.HashVanished)
	elsewhere := req // exe may be pointed at a twin on another file system
	elsewhere.File.Dev++
	wantReason(t, r.ask(elsewhere), event.HashVanished)
	wantReason(t, r.ask(event.HashRequest{ID: event.ProcessID{PID: 2}}), event.HashNoFile)
	large := start(t, install(t, filepath.Join(t.TempDir(), "large"), append(program(t, "sleep"), make([]byte, 1<<20)...)), "60")
	got := r.ask(event.HashRequest{ID: event.ProcessID{PID: uint32(large.Process.Pid)}})
	wantReason(t, got, event.HashTooLarge)
	if s := r.Stats(); s.Bytes != 0 || s.Entries != 0 {
		t.Errorf("a refused file was read: %+v", s)
	}
	wantReason(t, r.askFile("/proc/self/exe"), event.HashTooLarge)
}

func TestHardLinkIsTheSameFile(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true})
	content := program(t, "sleep")
	dir := t.TempDir()
	path := install(t, filepath.Join(dir, "one"), content)
	second := filepath.Join(dir, "two")
	if err := os.Link(path, second); err != nil {
		t.Fatal(err)
	}
	age()
	wantDigest(t, r.ask(request(t, start(t, path, "60").Process.Pid, path)), content)
	req := request(t, start(t, second, "60").Process.Pid, second)
	got, ok := r.Executable(req, nil)
	if !ok {
		t.Fatal("the other name of a known file was not answered at once")
	}
	wantDigest(t, got, content)
	if got.Links != 2 {
		t.Errorf("got %d links, want 2", got.Links)
	}
}

// TestSilentChanges changes files in ways that keep size and mtime.
func TestSilentChanges(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true})
	change := map[string]func(t *testing.T, path string, content []byte){
		"write":      func(t *testing.T, path string, content []byte) { overwrite(t, path, content) },
		"mmap store": mapAndStore,
	}
	for name, modify := range change {
		t.Run(name, func(t *testing.T) {
			content := program(t, "sleep")
			path := install(t, filepath.Join(t.TempDir(), "prog"), content)
			settle()
			before, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			cmd := start(t, path, "60")
			wantDigest(t, r.ask(request(t, cmd.Process.Pid, path)), content)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			content[len(content)-1] ^= 1
			modify(t, path, content)
			if err := os.Chtimes(path, before.ModTime(), before.ModTime()); err != nil {
				t.Fatal(err)
			}
			again := start(t, path, "60")
			wantDigest(t, r.ask(request(t, again.Process.Pid, path)), content)
		})
	}
}

func overwrite(t *testing.T, path string, content []byte) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func mapAndStore(t *testing.T, path string, content []byte) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	copy(m, content)
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
}

// TestEntriesAreBounded runs more programs than the cache may keep.
func TestEntriesAreBounded(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true, Entries: 3})
	dir := t.TempDir()
	for i := range 6 {
		content := []byte{byte(i)}
		wantDigest(t, r.askFile(install(t, filepath.Join(dir, string(rune('a'+i))), content)), content)
	}
	settle()
	for i := range 6 {
		wantDigest(t, r.askFile(filepath.Join(dir, string(rune('a'+i)))), []byte{byte(i)})
	}
	if s := r.Stats(); s.Entries != 3 {
		t.Errorf("%d entries, want 3", s.Entries)
	}
}
