package digest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// Numbers of the FUSE protocol, see linux/fuse.h.
const (
	fuseLookup     = 1
	fuseForget     = 2
	fuseGetattr    = 3
	fuseOpen       = 14
	fuseRead       = 15
	fuseStatfs     = 17
	fuseRelease    = 18
	fuseFlush      = 25
	fuseInit       = 26
	fuseInterrupt  = 36
	fuseBatch      = 42
	fuseHeader     = 40
	fuseRootNode   = 1
	fuseProgram    = 2 // a program
	fuseSecond     = 3 // a program that only its first opener gets; the others wait for SIGUSR1
	fuseStall      = 4 // a file whose reads wait for SIGUSR1
	fuseForgedTime = 1_600_000_000
)

var fuseNames = map[string]uint64{"program": fuseProgram, "second": fuseSecond, "stall": fuseStall}

// with is a copy of text and one more byte.
func with(text []byte, last byte) []byte { return append(text[:len(text):len(text)], last) }

// fuseServer is a real server of the FUSE protocol, in a process of its own:
// a stuck one must stop nothing in the tests' process, not even a fork.
type fuseServer struct {
	device  *os.File
	write   sync.Mutex
	content map[uint64][]byte
	opens   map[uint64]int
	release chan struct{}
}

// serveFuse mounts and serves until the mount goes. Its content changes with
// SIGUSR2 although size and times stay: it lies.
func serveFuse(dir, user string) int {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%[2]s,group_id=%[2]s", device.Fd(), user)
	if err := unix.Mount("digest-test", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		fmt.Println(err)
		return 1
	}
	text, err := os.ReadFile("/bin/sleep")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	s := &fuseServer{device: device, opens: make(map[uint64]int), release: make(chan struct{}),
		content: map[uint64][]byte{fuseProgram: with(text, 'a'), fuseSecond: with(text, 'b'), fuseStall: []byte("stalled")}}
	released := make(chan os.Signal, 1)
	signal.Notify(released, unix.SIGUSR1)
	go func() {
		<-released
		close(s.release)
	}()
	forged := make(chan os.Signal, 1)
	signal.Notify(forged, unix.SIGUSR2)
	go func() {
		<-forged
		s.write.Lock()
		s.content[fuseProgram] = with(text, 'z')
		s.write.Unlock()
		fmt.Println("forged")
	}()
	fmt.Println("mounted")
	return s.serve()
}

func (s *fuseServer) serve() int {
	for {
		buf := make([]byte, 1<<17+4096)
		n, err := unix.Read(int(s.device.Fd()), buf)
		switch {
		case errors.Is(err, unix.ENODEV):
			return 0
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAGAIN):
			continue
		case err != nil || n < fuseHeader:
			return 1
		}
		go s.handle(buf[:n])
	}
}

func (s *fuseServer) handle(in []byte) {
	e := binary.NativeEndian
	op, unique, node, body := e.Uint32(in[4:]), e.Uint64(in[8:]), e.Uint64(in[16:]), in[fuseHeader:]
	switch op {
	case fuseForget, fuseBatch, fuseInterrupt:
		return
	case fuseInit:
		s.reply(unique, 0, uint32(7), uint32(31), uint32(1<<16), uint32(0), uint16(12), uint16(10), uint32(1<<17), uint32(1), [36]byte{})
	case fuseLookup:
		name, _, _ := bytes.Cut(body, []byte{0})
		id, ok := fuseNames[string(name)]
		if !ok {
			s.reply(unique, -int32(unix.ENOENT))
			return
		}
		s.reply(unique, 0, id, uint64(0), uint64(0), uint64(0), uint32(0), uint32(0), s.attributes(id))
	case fuseGetattr:
		s.reply(unique, 0, uint64(0), uint32(0), uint32(0), s.attributes(node))
	case fuseOpen:
		s.write.Lock()
		s.opens[node]++
		waits := node == fuseSecond && s.opens[node] > 1
		s.write.Unlock()
		if waits {
			<-s.release
		}
		s.reply(unique, 0, node, uint32(0), uint32(0))
	case fuseRead:
		if node == fuseStall {
			<-s.release
		}
		s.reply(unique, 0, s.part(node, e.Uint64(body[8:]), e.Uint32(body[16:])))
	case fuseStatfs:
		s.reply(unique, 0, [80]byte{})
	case fuseRelease, fuseFlush:
		s.reply(unique, 0)
	default:
		s.reply(unique, -int32(unix.ENOSYS))
	}
}

func (s *fuseServer) part(node, offset uint64, size uint32) []byte {
	s.write.Lock()
	defer s.write.Unlock()
	content := s.content[node]
	offset = min(offset, uint64(len(content)))
	return content[offset:min(offset+uint64(size), uint64(len(content)))]
}

// attributes is struct fuse_attr.
func (s *fuseServer) attributes(node uint64) []byte {
	s.write.Lock()
	defer s.write.Unlock()
	mode, size := uint32(unix.S_IFREG|0o755), uint64(len(s.content[node]))
	if node == fuseRootNode {
		mode, size = unix.S_IFDIR|0o755, 0
	}
	var b bytes.Buffer
	const when = uint64(fuseForgedTime)
	for _, v := range []any{node, size, (size + 511) / 512, when, when, when, uint32(5), uint32(5), uint32(5), mode,
		uint32(1), uint32(0), uint32(0), uint32(0), uint32(4096), uint32(0)} {
		_ = binary.Write(&b, binary.NativeEndian, v)
	}
	return b.Bytes()
}

func (s *fuseServer) reply(unique uint64, code int32, parts ...any) {
	var body bytes.Buffer
	for _, p := range parts {
		_ = binary.Write(&body, binary.NativeEndian, p)
	}
	out := binary.NativeEndian.AppendUint32(nil, uint32(16+body.Len()))
	out = binary.NativeEndian.AppendUint32(out, uint32(code))
	out = binary.NativeEndian.AppendUint64(out, unique)
	_, _ = unix.Write(int(s.device.Fd()), append(out, body.Bytes()...))
}

// fuse is a mount and the process behind it.
type fuse struct {
	dir    string
	server *exec.Cmd
	said   chan string
}

func mountFuse(t *testing.T, user string) *fuse {
	t.Helper()
	needRoot(t)
	probe, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("missing feature: FUSE: %v", err)
	}
	probe.Close()
	f := &fuse{dir: t.TempDir(), said: make(chan string, 8)}
	f.server = exec.Command("/proc/self/exe", f.dir, user)
	f.server.Env = append(os.Environ(), role+"=fuse")
	f.server.Stderr = os.Stderr
	out, err := f.server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.server.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(f.said)
		for {
			var line string
			if _, err := fmt.Fscanln(out, &line); err != nil {
				return
			}
			f.said <- line
		}
	}()
	t.Cleanup(f.unmount)
	if line := <-f.said; line != "mounted" {
		t.Fatalf("fuse server says %q", line)
	}
	return f
}

// unmount aborts what is stuck.
func (f *fuse) unmount() {
	_ = f.server.Process.Kill()
	for range f.said {
	}
	_ = f.server.Wait()
	_ = unix.Unmount(f.dir, unix.MNT_DETACH|unix.MNT_FORCE)
}

func (f *fuse) release(t *testing.T) {
	t.Helper()
	if err := f.server.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
}

func TestFuseIsReadAgain(t *testing.T) {
	f := mountFuse(t, "0")
	r := newRig(t, Config{NoFanotify: true})
	text, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(f.dir, "program")
	ask := func(last byte) {
		t.Helper()
		cmd := start(t, path, "60")
		req := request(t, cmd.Process.Pid, path)
		wantDigest(t, r.ask(req), with(text, last))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	ask('a')
	if n := r.Stats().Entries; n != 0 {
		t.Errorf("%d digests of a forgeable file system are kept, want none", n)
	}
	if err := f.server.Process.Signal(unix.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	<-f.said
	ask('z') // same inode, size and times
}

// TestFuseOfAnotherUser: the kernel keeps root out of a user's mount (as an
// AppImage makes) unless that user allows it.
func TestFuseOfAnotherUser(t *testing.T) {
	f := mountFuse(t, "65534")
	r := newRig(t, Config{NoFanotify: true})
	cmd := exec.Command(filepath.Join(f.dir, "program"), "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := os.Chmod(filepath.Dir(f.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	launch(t, cmd)
	req := request(t, cmd.Process.Pid, "/bin/sleep")
	req.File = event.FileID{Dev: 1, Inode: fuseProgram}
	wantReason(t, r.ask(req), event.HashUnreadable)
	wantReason(t, r.askFile(filepath.Join(f.dir, "program")), event.HashUnreadable)
}

func TestStuckFuse(t *testing.T) {
	f := mountFuse(t, "0")
	r := newRig(t, Config{NoFanotify: true, Deadline: 200 * time.Millisecond})
	path := filepath.Join(f.dir, "second")
	req := request(t, start(t, path, "60").Process.Pid, path)
	answers := make(chan event.HashResult, 4)
	begun := time.Now()
	if res, ok := r.Executable(req, func(v event.HashResult) { answers <- v }); ok || res.Reason != event.HashPending {
		t.Fatalf("got %v %v, want pending", res.Reason, ok)
	}
	if d := time.Since(begun); d > 50*time.Millisecond {
		t.Errorf("the request waited %v for a stuck server", d)
	}
	for range 20 { // more than the workers of that file system
		r.File(filepath.Join(f.dir, "stall"), func(event.HashResult) {})
	}
	content := []byte("somebody else")
	script := install(t, filepath.Join(t.TempDir(), "script"), content)
	wantDigest(t, r.askFile(script), content)
	wantReason(t, <-answers, event.HashDeadline)
	if n := r.lost.Load(); n != 0 {
		t.Errorf("%d losses counted before the server was given up, want none", n)
	}
	f.release(t)
	text, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case late := <-answers:
		wantDigest(t, late, with(text, 'b'))
	case <-time.After(5 * time.Second):
		t.Fatal("no late answer")
	}
	select {
	case more := <-answers:
		t.Errorf("a third answer: %v", more.Reason)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestCloseWithStuckFuse(t *testing.T) {
	f := mountFuse(t, "0")
	r := newRig(t, Config{})
	r.run()
	answers := make(chan event.HashResult, 4)
	r.File(filepath.Join(f.dir, "stall"), func(v event.HashResult) { answers <- v })
	eventually(t, "the read begins", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.flights) == 1
	})
	time.Sleep(20 * time.Millisecond)
	begun := time.Now()
	err := r.Close()
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("Close took %v", d)
	}
	if err == nil {
		t.Error("Close does not tell of the stuck read")
	}
	wantReason(t, <-answers, event.HashDeadline)
	f.unmount() // the stuck read ends now and gives back its descriptors
	eventually(t, "the stuck read ended", func() bool {
		r.mounts.mu.Lock()
		defer r.mounts.mu.Unlock()
		return r.mounts.probe < 0
	})
}

func TestQueueIsBounded(t *testing.T) {
	f := mountFuse(t, "0")
	r := newRig(t, Config{NoFanotify: true, Queue: 4})
	defer f.release(t)
	path := filepath.Join(f.dir, "stall")
	for range 4 {
		if _, ok := r.File(path, func(event.HashResult) {}); ok {
			t.Fatal("answered at once")
		}
	}
	got, ok := r.File(path, nil)
	if !ok || got.Reason != event.HashBusy {
		t.Errorf("got %v %v, want queue-full at once", got.Reason, ok)
	}
	if n := r.lost.Load(); n != 1 {
		t.Errorf("%d losses counted, want 1", n)
	}
}

// TestLaneOfStuckServer: the way to a file is judged without opening it.
func TestLaneOfStuckServer(t *testing.T) {
	f := mountFuse(t, "0")
	r := newRig(t, Config{NoFanotify: true})
	path := filepath.Join(f.dir, "program")
	cmd := start(t, path, "60")
	id := request(t, cmd.Process.Pid, path)
	_, fit, err := openImage(id.ID, fastLane, r.table())
	if want := slowLane(id.File.Dev); !errors.Is(err, errOtherLane) || fit != want {
		t.Errorf("got %v, lane %+v, want lane %+v", err, fit, want)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, fit, err := openScript(link, fastLane, r.table()); !errors.Is(err, errOtherLane) || fit.fast {
		t.Errorf("got %v, lane %+v, want another lane", err, fit)
	}
	disk := start(t, "/bin/sleep", "60")
	o, _, err := openImage(request(t, disk.Process.Pid, "/bin/sleep").ID, fastLane, r.table())
	if err != nil {
		t.Fatalf("a file on a disk: %v", err)
	}
	o.close()
}
