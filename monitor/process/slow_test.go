package process

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
)

// A script on a file system that does not answer holds nothing up.
func TestSlowFileSystem(t *testing.T) {
	bpftest.Need(t, &bpftest.Feature{Name: "fuse", Config: "CONFIG_FUSE_FS", Probe: func() error {
		fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
		closeFD(fd)
		return err
	}})
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "fuse")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "fuse", 0, "fd="+strconv.Itoa(fuse)+",rootmode=40000,user_id=0,group_id=0"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		closeFD(fuse) // whoever waits gets an error
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	b := newBench(t)
	sh := shell(t, t.TempDir(), "sh")
	e := observed(t, start(t, command(sh, "-c", waiting)), 1)
	e.Args = []string{"sh", filepath.Join(dir, "script")}
	began := time.Now()
	for range 30 {
		e.ID.Exec++
		b.Exec(e)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("30 execs took %v", took)
	}
	p := b.settled(e.ID)
	if p.Script == nil || p.Script.Reason != event.HashDeadline || p.Script.Path != filepath.Join(dir, "script") {
		t.Errorf("script is %+v", p.Script)
	}
	checkExe(t, p, sh, "", event.ExecutableFile, content(t, sh))
}
