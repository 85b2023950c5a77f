package digest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// role makes the test binary a helper process.
const role = "SNITCH_DIGEST_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "fuse":
		os.Exit(serveFuse(os.Args[1], os.Args[2]))
	case "chroot":
		os.Exit(stayInRoot(os.Args[1]))
	}
	before := descriptors()
	code := m.Run()
	if after := descriptors(); code == 0 && len(after) > len(before) {
		fmt.Fprintf(os.Stderr, "descriptors leaked: %d before, %d after: %v\n", len(before), len(after), after)
		code = 1
	}
	os.Exit(code)
}

// descriptors lists what is open, without those of the runtime's poller.
func descriptors() map[string]string {
	open := make(map[string]string)
	list, _ := os.ReadDir("/proc/self/fd")
	for _, e := range list {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(to, "eventpoll") && !strings.Contains(to, "[eventfd]") && !strings.HasSuffix(to, "/fd") {
			open[e.Name()] = to
		}
	}
	return open
}

// rig is a hasher under test.
type rig struct {
	*Hasher
	t         testing.TB
	lost      atomic.Uint64
	overflows atomic.Uint64
}

// newRig makes a hasher; with cfg.NoFanotify false it also runs and must have
// fanotify if the kernel and the privileges do.
func newRig(t testing.TB, cfg Config) *rig {
	t.Helper()
	r := &rig{t: t}
	h, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Loss: r.loss})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r.Hasher = h
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

func (r *rig) loss(c event.LossCause, n uint64) {
	switch c {
	case event.LossHash:
		r.lost.Add(n)
	case event.LossFanotify:
		r.overflows.Add(n)
	}
}

// run starts the readers and waits until they read. They end with the test, or
// when the function that it returns is called.
func (r *rig) run() func() {
	r.t.Helper()
	needFanotify(r.t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	r.t.Cleanup(stop)
	eventually(r.t, "fanotify is read", func() bool { return strings.HasPrefix(r.Stats().Fanotify, "active") })
	return stop
}

func needFanotify(t testing.TB) {
	t.Helper()
	g, err := newGroup("probe")
	if err != nil {
		t.Skipf("missing feature: %v", err)
	}
	g.close()
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("missing feature: CAP_SYS_ADMIN (mounts)")
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// ask waits for the first answer.
func (r *rig) ask(req event.HashRequest) event.HashResult {
	r.t.Helper()
	return r.answer(func(done func(event.HashResult)) (event.HashResult, bool) { return r.Executable(req, done) })
}

func (r *rig) askFile(path string) event.HashResult {
	r.t.Helper()
	return r.answer(func(done func(event.HashResult)) (event.HashResult, bool) { return r.File(path, done) })
}

func (r *rig) answer(call func(func(event.HashResult)) (event.HashResult, bool)) event.HashResult {
	r.t.Helper()
	answers := make(chan event.HashResult, 2)
	res, ok := call(func(v event.HashResult) { answers <- v })
	if ok {
		return res
	}
	if res.Reason != event.HashPending {
		r.t.Fatalf("unanswered request says %v, want pending", res.Reason)
	}
	select {
	case res = <-answers:
		return res
	case <-time.After(10 * time.Second):
		r.t.Fatal("no answer within 10 s")
		return res
	}
}

func wantDigest(t testing.TB, got event.HashResult, content []byte) {
	t.Helper()
	if want := event.Digest(sha256.Sum256(content)); got.Reason != event.HashKnown || got.SHA256 != want {
		t.Fatalf("got %v %v, want known %v", got.Reason, got.SHA256, want)
	}
}

func wantReason(t testing.TB, got event.HashResult, want event.HashReason) {
	t.Helper()
	if got.Reason != want || !got.SHA256.IsZero() {
		t.Fatalf("got %v %v, want %v without a digest", got.Reason, got.SHA256, want)
	}
}

var serial atomic.Uint64

// program is the content of a real program that no other test has: bytes
// behind an ELF file do not matter to it.
func program(t testing.TB, name string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return append(content, fmt.Sprintf("unique %d %d %d", os.Getpid(), time.Now().UnixNano(), serial.Add(1))...)
}

// install writes an executable and lets its ctime grow old enough to be cached.
func install(t testing.TB, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func settle() { time.Sleep(25 * time.Millisecond) }

// age makes the files of a test so old that their executions are answered
// without an open and pass without an event.
func age() { time.Sleep(silentAge + 100*time.Millisecond) }

func bootTime(t testing.TB) uint64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		t.Fatal(err)
	}
	return uint64(now.Nano())
}

// start runs a program until the test ends.
func start(t testing.TB, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(path, args...)
	launch(t, cmd)
	return cmd
}

func launch(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// request describes a live process as the kernel's exec event would; the file
// is given by a path to it, for which stat and kernel agree.
func request(t testing.TB, pid int, file string) event.HashRequest {
	t.Helper()
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	// On some kernels exec closes descriptors, which is what os/exec waits
	// for, before it changes the image.
	eventually(t, "the program runs", func() bool {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return err == nil && exe != own
	})
	st, err := readProcStat(uint32(pid))
	if err != nil {
		t.Fatal(err)
	}
	return event.HashRequest{ID: event.ProcessID{PID: uint32(pid), Exec: 1, Start: st.start*clockTick + 1234}, File: fileID(t, file)}
}

func fileID(t testing.TB, path string) event.FileID {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatalf("stat %s: %v", path, err)
	}
	id := event.FileID{Dev: kernelDevice(uint64(st.Dev)), Inode: st.Ino, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		t.Fatal(err)
	}
	if familyOfMagic(int64(fs.Type)) != familyLocal { // a server may be stuck, and is not asked
		return id
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id.Generation, err = unix.IoctlGetUint32(int(f.Fd()), getVersion)
	id.HasGeneration = err == nil
	return id
}

// superblockOf is the device number that the kernel has for a process's
// program, from the process's own mounts. (/proc/PID/maps has it too, but on an
// overlay only from Linux 6.8 on.)
func superblockOf(t testing.TB, pid int) uint64 {
	t.Helper()
	handle, err := unix.Open(fmt.Sprintf("/proc/%d/exe", pid), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(handle)
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, _, err := parseMountinfo(f)
	if err != nil {
		t.Fatal(err)
	}
	table := &mountTable{byID: make(map[uint64]mount)}
	for _, m := range list {
		table.byID[m.id] = m
	}
	m, ok := mountOf(handle, table)
	if !ok {
		t.Fatalf("no mount of process %d has its program", pid)
	}
	return m.dev
}
