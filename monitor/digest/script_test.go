package digest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

func TestScriptPaths(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true, Deadline: 2 * time.Second})
	dir := t.TempDir()
	content := []byte("#!/bin/sh\nexit 0\n")
	script := install(t, filepath.Join(dir, "script"), content)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(script, link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: sock}); err != nil {
		t.Fatal(err)
	}
	settle()
	f, err := os.Open(script)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, path := range []string{script, link, descriptorPath(int(f.Fd())), "/proc/self/root" + script, "/proc/" + self() + "/root" + link} {
		got := r.askFile(path)
		wantDigest(t, got, content)
		if got.Path != script {
			t.Errorf("%s: hashed %q, want %q", path, got.Path, script)
		}
	}
	for _, path := range []string{fifo, sock, dir, "/dev/zero", "/dev/tty", "/proc/self/mem", "relative", "", filepath.Join(dir, "absent"), script + "/x", string(make([]byte, 5000))} {
		if got := r.askFile(path); got.Reason != event.HashUnreadable {
			t.Errorf("%.40q: got %v, want unreadable", path, got.Reason)
		}
	}
	if _, ok := r.File(script, nil); !ok {
		t.Error("a known script was not answered at once")
	}
}

func self() string { p, _ := os.Readlink("/proc/self"); return p }

func TestSplitRoot(t *testing.T) {
	root, rest, ok := splitRoot("/proc/12/root/usr/bin/x")
	if root != "/proc/12/root" || rest != "usr/bin/x" || !ok {
		t.Errorf("got %q %q %v", root, rest, ok)
	}
	for _, path := range []string{"/proc/12/root", "/proc/12/root/", "/proc/../root/x", "/proc/12/cwd/x", "/usr/bin/x"} {
		if _, _, ok := splitRoot(path); ok {
			t.Errorf("%s was taken for a path in another root", path)
		}
	}
}

// stayInRoot is a process whose root is dir, until its input ends.
func stayInRoot(dir string) int {
	if err := unix.Chroot(dir); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// TestRootOfProcess: an absolute link in another root means that root.
func TestRootOfProcess(t *testing.T) {
	needRoot(t)
	r := newRig(t, Config{NoFanotify: true})
	dir, content := t.TempDir(), []byte("#!/inner\n")
	install(t, filepath.Join(dir, "script"), content)
	if err := os.Symlink("/script", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", dir)
	cmd.Env = append(os.Environ(), role+"=chroot")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	launch(t, cmd)
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil || line != "ready" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	wantDigest(t, r.askFile(fmt.Sprintf("/proc/%d/root/link", cmd.Process.Pid)), content)
}

// TestWrittenWhileRead lets a writer go on while the file is hashed.
func TestWrittenWhileRead(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true, Deadline: time.Minute})
	path := install(t, filepath.Join(t.TempDir(), "busy"), make([]byte, 16<<20))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := byte(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_, _ = f.WriteAt([]byte{i}, 15<<20)
			time.Sleep(time.Millisecond)
		}
	}()
	got := r.askFile(path)
	close(stop)
	<-stopped
	wantReason(t, got, event.HashChanged)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantDigest(t, r.askFile(path), content)
}

// TestYoungFilesAreReadAgain: within one tick a write may leave ctime as it is.
func TestYoungFilesAreReadAgain(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true})
	path := filepath.Join(t.TempDir(), "young")
	for i := range 50 {
		content := []byte{byte(i), 'x'}
		install(t, path, content)
		wantDigest(t, r.askFile(path), content)
	}
}

func TestSameFileIsReadOnce(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true, Deadline: time.Minute})
	const size, askers = 32 << 20, 100
	path := install(t, filepath.Join(t.TempDir(), "big"), make([]byte, size))
	settle()
	answers := make(chan event.HashResult, askers)
	for range askers {
		if res, ok := r.File(path, func(v event.HashResult) { answers <- v }); ok {
			answers <- res
		}
	}
	for range askers {
		if got := <-answers; got.Reason != event.HashKnown {
			t.Fatalf("got %v", got.Reason)
		}
	}
	if s := r.Stats(); s.Bytes != size {
		t.Errorf("%d bytes read for %d requests, want %d", s.Bytes, askers, size)
	}
}

// TestCloseWithReadsThatWait leaves reads in the queue: TestMain finds their
// descriptors if Close does not close them.
func TestCloseWithReadsThatWait(t *testing.T) {
	r := newRig(t, Config{NoFanotify: true, Workers: 1})
	const scripts = 20
	dir, answers := t.TempDir(), make(chan event.HashResult, scripts)
	for i := range scripts {
		path := install(t, filepath.Join(dir, string(rune('a'+i))), make([]byte, 4<<20))
		if _, ok := r.File(path, func(v event.HashResult) { answers <- v }); ok {
			t.Fatal("answered at once")
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	missing := 0
	for range scripts {
		if v := <-answers; v.Reason == event.HashDeadline {
			missing++
		}
	}
	if missing == 0 {
		t.Error("every file was read: this test proves nothing")
	}
}
