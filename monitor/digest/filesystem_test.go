package digest

import (
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// kernelRequest is request with the file's numbers as the kernel has them.
func kernelRequest(t *testing.T, pid int, path string) event.HashRequest {
	t.Helper()
	req := request(t, pid, path)
	req.File.Dev = superblockOf(t, pid)
	return req
}

// unmount gives other monitors of this machine the time to close what they read.
func unmount(t *testing.T, dir string) {
	t.Helper()
	var err error
	for range 200 {
		if err = unix.Unmount(dir, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Errorf("unmount %s: %v", dir, err)
	}
}

// mountOverlay stacks an empty layer over a directory that holds content as
// "prog", and returns the path of prog in it.
func mountOverlay(t *testing.T, content []byte) string {
	t.Helper()
	return filepath.Join(stack(t, t.TempDir(), content), "prog")
}

// stack is mountOverlay in dir; it returns where the overlay is mounted.
func stack(t *testing.T, dir string, content []byte) string {
	t.Helper()
	needRoot(t)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	install(t, filepath.Join(dir, "lower/prog"), content)
	merged := filepath.Join(dir, "merged")
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Skipf("missing feature: overlayfs: %v", err)
	}
	t.Cleanup(func() {
		unmount(t, merged)
	})
	return merged
}

func TestOverlay(t *testing.T) {
	content := program(t, "sleep")
	path := mountOverlay(t, content)
	r := newRig(t, Config{})
	r.run()
	age()
	cmd := exec.Command(path, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	req := kernelRequest(t, cmd.Process.Pid, path)
	wantDigest(t, r.ask(req), content)
	if _, ok := r.Executable(req, nil); !ok {
		t.Error("the second request was not answered at once")
	}
}

func TestShortLivedOnOverlay(t *testing.T) {
	content := program(t, "cat")
	path := mountOverlay(t, content)
	r := newRig(t, Config{})
	r.run()
	for range 10 {
		wantDigest(t, r.ask(runMapped(t, path)), content)
	}
	content[len(content)-1] ^= 1 // goes to the upper layer: another inode behind the same name
	overwrite(t, path, content)
	wantDigest(t, r.ask(runMapped(t, path)), content)
}

// TestKnownFilesOnOverlayAreSilent: also those that nobody asks for, as the
// ELF interpreter of a container.
func TestKnownFilesOnOverlayAreSilent(t *testing.T) {
	content := program(t, "cat")
	path := mountOverlay(t, content)
	age()
	for name, asked := range map[string]bool{"asked for": true, "not asked for": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{})
			r.run()
			if !r.groups[1].evictable {
				t.Skip("missing feature: evictable fanotify marks (Linux 5.19)")
			}
			for range patienceOfSightings + 4 {
				req := runMapped(t, path)
				if asked {
					wantDigest(t, r.ask(req), content)
				}
				time.Sleep(5 * time.Millisecond)
			}
			before := r.seen(path)
			if limit := patienceOfSightings + 2; before > limit || asked && before > 4 {
				t.Errorf("seen %d times, want at most %d", before, limit)
			}
			runMapped(t, path)
			time.Sleep(20 * time.Millisecond)
			if n := r.seen(path); n != before || n == 0 {
				t.Errorf("seen %d times, then %d times", before, n)
			}
		})
	}
}

// runMapped executes a cat to its end and returns the exec event with the
// kernel's numbers.
func runMapped(t *testing.T, path string) event.HashRequest {
	t.Helper()
	cmd := exec.Command(path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	req := kernelRequest(t, cmd.Process.Pid, path)
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return req
}

// TestOtherMountNamespace runs a program on an overlay that only its own
// namespace shows, as containers do.
func TestOtherMountNamespace(t *testing.T) {
	needRoot(t)
	r := newRig(t, Config{})
	r.run()
	content := program(t, "sleep")
	dir := t.TempDir()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	install(t, filepath.Join(dir, "lower/prog"), content)
	script := `mount -t overlay overlay -o lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/work $0/merged && exec $0/merged/prog 60`
	cmd := exec.Command("/bin/sh", "-c", script, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	launch(t, cmd)
	eventually(t, "the program runs", func() bool {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
		return err == nil && strings.HasSuffix(exe, "/merged/prog")
	})
	view := fmt.Sprintf("/proc/%d/root%s/merged/prog", cmd.Process.Pid, dir)
	req := request(t, cmd.Process.Pid, view)
	req.File.Dev = superblockOf(t, cmd.Process.Pid)
	wantDigest(t, r.ask(req), content)
	wantDigest(t, r.askFile(view), content)
	if n := r.Stats().Entries; n != 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, ok := r.cache.byKey[inodeOf(req.File)]; ok {
			t.Error("a digest is kept for an overlay whose layers nobody vouches for")
		}
	}
}

func TestTmpfs(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	}()
	r := newRig(t, Config{})
	r.run()
	content := program(t, "true")
	path := install(t, filepath.Join(dir, "prog"), content)
	for range 3 {
		settle()
		wantDigest(t, r.ask(runOnce(t, path)), content)
	}
	age()
	if _, ok := r.Executable(event.HashRequest{File: fileID(t, path), Boot: bootTime(t)}, nil); !ok {
		t.Error("a known file on a file system of the host was not answered at once")
	}
}

// TestUnmountedNumbersCountNoMore: an unnamed device number is anybody's again.
func TestUnmountedNumbersCountNoMore(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Config{NoFanotify: true})
	path := install(t, filepath.Join(dir, "prog"), program(t, "true"))
	age()
	id, boot := fileID(t, path), bootTime(t)
	r.askFile(path)
	if _, ok := r.Executable(event.HashRequest{File: id, Boot: boot}, nil); !ok {
		t.Error("a known file was not answered at once")
	}
	unmount(t, dir)
	wantReason(t, r.ask(event.HashRequest{ID: event.ProcessID{PID: 1<<22 + 1}, File: id, Boot: boot}), event.HashVanished)
}

// btrfsSubvolume is BTRFS_IOC_SUBVOL_CREATE.
const btrfsSubvolume = 0x5000940e

// TestBtrfs runs programs from two subvolumes of a real btrfs.
func TestBtrfs(t *testing.T) {
	dir := mountImage(t, "btrfs")
	r := newRig(t, Config{})
	r.run()
	for _, name := range []string{"one", "two"} {
		subvolume(t, dir, name)
		content := program(t, "cat")
		path := install(t, filepath.Join(dir, name, "prog"), content)
		age()
		for range 3 {
			req := runMapped(t, path)
			if req.File.Dev == fileID(t, path).Dev {
				t.Fatal("btrfs shows the superblock's device: this test proves nothing")
			}
			wantDigest(t, r.ask(req), content)
		}
		if _, ok := r.Executable(runMapped(t, path), nil); !ok {
			t.Error("a known file was not answered at once")
		}
	}
}

func subvolume(t *testing.T, dir, name string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var args struct {
		fd   int64
		name [4088]byte
	}
	copy(args.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), btrfsSubvolume, uintptr(unsafe.Pointer(&args))); errno != 0 {
		t.Fatalf("make subvolume: %v", errno)
	}
}

// mountImage mounts a copy of testdata/KIND.img.bz2. They were made by
// "mkfs.btrfs --mixed" (16 MiB) and "mkfs.ext3 -I 256 -J size=1" (4 MiB).
func mountImage(t *testing.T, kind string) string {
	t.Helper()
	needRoot(t)
	types, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(types), "\t"+kind+"\n") {
		t.Skip("missing feature: " + kind)
	}
	packed, err := os.Open("testdata/" + kind + ".img.bz2")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	image, err := os.Create(filepath.Join(t.TempDir(), kind+".img"))
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if _, err := io.Copy(image, bzip2.NewReader(packed)); err != nil {
		t.Fatal(err)
	}
	device := attachLoop(t, image)
	dir := t.TempDir()
	if err := unix.Mount(device, dir, kind, 0, ""); err != nil {
		t.Fatalf("mount %s: %v", kind, err)
	}
	t.Cleanup(func() {
		unmount(t, dir)
	})
	return dir
}

// attachLoop makes a loop device that goes away with its last user.
func attachLoop(t *testing.T, image *os.File) string {
	t.Helper()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("missing feature: loop devices: %v", err)
	}
	defer control.Close()
	for range 20 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatalf("find a free loop device: %v", err)
		}
		name := fmt.Sprintf("/dev/loop%d", n)
		device, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { device.Close() })
		config := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return name
		}
		if !errors.Is(err, unix.EBUSY) { // somebody else took it meanwhile
			t.Fatalf("attach loop device: %v", err)
		}
	}
	t.Fatal("no loop device stays free")
	return ""
}
