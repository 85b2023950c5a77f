package digest

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// runOnce executes path to its end and returns what the kernel's exec event
// would say.
func runOnce(t testing.TB, path string) event.HashRequest {
	t.Helper()
	cmd, boot := exec.Command(path), bootTime(t)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return event.HashRequest{ID: event.ProcessID{PID: uint32(cmd.Process.Pid), Exec: 1, Start: 1}, File: fileID(t, path), Boot: boot}
}

// TestShortLivedProcesses asks for programs whose processes are gone and whose
// paths are not given: only fanotify's descriptors can tell.
func TestShortLivedProcesses(t *testing.T) {
	r := newRig(t, Config{})
	r.run()
	dir := t.TempDir()
	for i := range 100 {
		content := program(t, "true")
		path := install(t, filepath.Join(dir, fmt.Sprint(i)), content)
		req := runOnce(t, path)
		got := r.ask(req)
		wantDigest(t, got, content)
		if got.Path != path {
			t.Errorf("got path %q, want %q", got.Path, path)
		}
	}
	if n := r.lost.Load(); n != 0 {
		t.Errorf("%d losses counted, want none", n)
	}
}

// TestShortLivedAndDeleted: the program also removes its own file.
func TestShortLivedAndDeleted(t *testing.T) {
	r := newRig(t, Config{})
	r.run()
	for range 20 {
		content := program(t, "rm")
		path := install(t, filepath.Join(t.TempDir(), "suicide"), content)
		id := fileID(t, path)
		cmd := exec.Command(path, path)
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		got := r.ask(event.HashRequest{ID: event.ProcessID{PID: uint32(cmd.Process.Pid), Start: 1}, File: id})
		// The unlink gives the file a new ctime before, while or after it is
		// read. Only after it is the equality certain: never another digest.
		if got.Reason != event.HashVanished && got.Reason != event.HashChanged {
			wantDigest(t, got, content)
		}
	}
}

// TestOtherProcessesProveNothing: a sighting counts for its own process.
func TestOtherProcessesProveNothing(t *testing.T) {
	r := newRig(t, Config{})
	r.run()
	path := install(t, filepath.Join(t.TempDir(), "prog"), program(t, "true"))
	req := runOnce(t, path)
	other := req
	other.ID.PID++
	if got := r.ask(req); got.Reason != event.HashKnown {
		t.Fatalf("got %v, want known", got.Reason)
	}
	changed := other
	changed.File.Ctime--
	wantReason(t, r.ask(changed), event.HashVanished)
	forged := req
	forged.File.Dev = 9999 // an unnamed device that the host does not show: anybody's
	wantReason(t, r.ask(forged), event.HashVanished)
}

// TestKnownFilesAreSilent counts the events that executions of a known file
// cause, then modifies it.
func TestKnownFilesAreSilent(t *testing.T) {
	r := newRig(t, Config{})
	r.run()
	if !r.groups[0].evictable {
		t.Skip("missing feature: evictable fanotify marks (Linux 5.19)")
	}
	content := program(t, "true")
	path := install(t, filepath.Join(t.TempDir(), "prog"), content)
	age()
	wantDigest(t, r.ask(runOnce(t, path)), content)
	eventually(t, "the file is silenced", func() bool {
		before := r.seen(path)
		runOnce(t, path)
		time.Sleep(10 * time.Millisecond)
		return r.seen(path) == before
	})
	req := runOnce(t, path)
	if _, ok := r.Executable(req, nil); !ok {
		t.Error("a silent execution was not answered at once")
	}
	dropped := r.Stats().Invalidations
	content[len(content)-1] ^= 1
	overwrite(t, path, content)
	eventually(t, "the entry is dropped", func() bool { return r.Stats().Invalidations > dropped })
	settle()
	wantDigest(t, r.ask(runOnce(t, path)), content)
}

// seen counts the sightings of a path that are still in the ring.
func (r *rig) seen(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.sightings.ring {
		if s.flight.shown.path == path {
			n++
		}
	}
	return n
}

// TestForgottenFilesSpeakAgain: an entry pushed out by others must not leave
// its file silent.
func TestForgottenFilesSpeakAgain(t *testing.T) {
	r := newRig(t, Config{Entries: 2})
	r.run()
	dir := t.TempDir()
	contents := make(map[string][]byte)
	for i := range 4 {
		content := program(t, "true")
		contents[install(t, filepath.Join(dir, fmt.Sprint(i)), content)] = content
	}
	age()
	for range 3 {
		for path, content := range contents {
			wantDigest(t, r.ask(runOnce(t, path)), content)
		}
	}
}

// TestMmapStoreThenExec: no fanotify event tells of the change, its ctime does.
func TestMmapStoreThenExec(t *testing.T) {
	r := newRig(t, Config{})
	r.run()
	content := program(t, "true")
	path := install(t, filepath.Join(t.TempDir(), "prog"), content)
	age()
	for range 3 {
		wantDigest(t, r.ask(runOnce(t, path)), content)
	}
	content[len(content)-1] ^= 1
	mapAndStore(t, path, content)
	req := runOnce(t, path)
	req.Path = path
	started := start(t, "/bin/sleep", "1")
	req.ID.Start, req.Boot = request(t, started.Process.Pid, "/bin/sleep").ID.Start, 0
	settle()
	got := r.ask(req)
	if got.Reason != event.HashVanished { // no sighting: the kernel kept quiet; never the old digest
		wantDigest(t, got, content)
	}
	sleeper := program(t, "sleep")
	live := install(t, filepath.Join(t.TempDir(), "live"), sleeper)
	settle()
	first := start(t, live, "60")
	wantDigest(t, r.ask(request(t, first.Process.Pid, live)), sleeper)
	_ = first.Process.Kill()
	_ = first.Wait()
	sleeper[len(sleeper)-1] ^= 1
	mapAndStore(t, live, sleeper)
	wantDigest(t, r.ask(request(t, start(t, live, "60").Process.Pid, live)), sleeper)
}

const queueLimit = "/proc/sys/fs/fanotify/max_queued_events"

// TestQueueOverflow makes the kernel's queue overflow for real.
func TestQueueOverflow(t *testing.T) {
	needFanotify(t)
	before, err := os.ReadFile(queueLimit)
	if err != nil {
		t.Skipf("missing feature: %v (Linux 5.13)", err)
	}
	if err := os.WriteFile(queueLimit, []byte("4"), 0); err != nil {
		t.Skipf("missing feature: write %s: %v", queueLimit, err)
	}
	r := newRig(t, Config{})
	if err := os.WriteFile(queueLimit, before, 0); err != nil {
		t.Fatal(err)
	}
	content := []byte("script")
	script := install(t, filepath.Join(t.TempDir(), "script"), content)
	settle()
	wantDigest(t, r.askFile(script), content)
	if n := r.Stats().Entries; n != 1 {
		t.Fatalf("%d entries before the overflow, want 1", n)
	}
	dir := t.TempDir()
	for i := range 10 { // nobody reads the queue yet
		runOnce(t, install(t, filepath.Join(dir, fmt.Sprint(i)), program(t, "true")))
	}
	r.run()
	eventually(t, "the overflow is counted", func() bool { return r.Stats().Overflows > 0 })
	if r.overflows.Load() == 0 {
		t.Error("the overflow was not reported as a loss")
	}
	r.mu.Lock()
	kept := r.cache.find(inodeFor(t, script))
	r.mu.Unlock()
	if kept != nil {
		t.Error("an entry from before the overflow was kept")
	}
	wantDigest(t, r.askFile(script), content)
}

// TestLeaseOnExecutedFile: the kernel cannot open the file of an event, and the
// events behind it must not wait for that.
func TestLeaseOnExecutedFile(t *testing.T) {
	needFanotify(t)
	r := newRig(t, Config{})
	leased := install(t, filepath.Join(t.TempDir(), "leased"), program(t, "true"))
	runOnce(t, leased)
	f, err := os.OpenFile(leased, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	signal.Ignore(unix.SIGIO) // the kernel's word that somebody wants the file
	defer signal.Reset(unix.SIGIO)
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("missing feature: leases: %v", err)
	}
	content := program(t, "true")
	path := install(t, filepath.Join(t.TempDir(), "prog"), content)
	req := runOnce(t, path)
	r.run()
	wantDigest(t, r.ask(req), content)
	if n := r.Stats().Missed; n == 0 {
		t.Error("the event of the leased file is not counted")
	}
}

// TestCloseWithSightingsThatWait closes while executed files wait to be read:
// TestMain finds their descriptors if Close does not close them.
func TestCloseWithSightingsThatWait(t *testing.T) {
	r := newRig(t, Config{Workers: 1})
	r.pool.patience = time.Minute
	r.run()
	r.pool.add(fastLane, func() { <-r.stopped.Done() }) // until Close
	dir := t.TempDir()
	const programs = 6
	for i := range programs {
		runOnce(t, install(t, filepath.Join(dir, fmt.Sprint(i)), program(t, "true")))
	}
	eventually(t, "the executions are seen", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.flights) >= programs
	})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.flights); n != 0 {
		t.Errorf("%d reads left after Close", n)
	}
}

func inodeFor(t testing.TB, path string) (inode, state) {
	id := fileID(t, path)
	return inode{dev: id.Dev, number: id.Inode}, stateOf(id)
}

// TestMarksVanish looks at the kernel's own list of marks.
func TestMarksVanish(t *testing.T) {
	r := newRig(t, Config{})
	r.run()
	path := install(t, filepath.Join(t.TempDir(), "prog"), program(t, "true"))
	age()
	for range 3 {
		r.ask(runOnce(t, path))
	}
	if marks() == 0 {
		t.Fatal("no marks while the hasher runs")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := marks(); n != 0 {
		t.Errorf("%d marks left after Close", n)
	}
	if got, ok := r.Executable(event.HashRequest{}, nil); !ok || got.Reason != event.HashBusy {
		t.Errorf("after Close: got %v %v", got.Reason, ok)
	}
}

// marks counts this process's fanotify marks.
func marks() int {
	n := 0
	for fd := range descriptors() {
		text, err := os.ReadFile("/proc/self/fdinfo/" + fd)
		if err == nil {
			n += strings.Count(string(text), "fanotify ino:") + strings.Count(string(text), "fanotify sdev:")
		}
	}
	return n
}
