package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// isolated runs script in a mount namespace of its own, whose mounts do not
// reach the host.
func isolated(t *testing.T, script string, flags uintptr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-ec", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Cloneflags: flags}
	return cmd
}

// Another mount namespace is no lie by itself: a service with a private /tmp
// executes the host's files.
func TestRealMountNamespace(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "sh")
	pid := start(t, isolated(t, "mount -t tmpfs none /mnt; exec "+sh+" -c '"+waiting+"'", 0))
	e := observed(t, pid, 2)
	if e.MountNS == b.host.namespace {
		t.Fatal("the program runs in the host's mount namespace")
	}
	b.Exec(e)
	checkExe(t, b.settled(e.ID), sh, "", event.ExecutableFile, content(t, sh))

	// But here the path shows another file than on the host.
	other := shell(t, t.TempDir(), "sh")
	f, err := os.OpenFile(other, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("other"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	pid = start(t, isolated(t, "mount --bind "+other+" "+sh+"; exec "+sh+" -c '"+waiting+"'", 0))
	e = observed(t, pid, 2)
	b.Exec(e)
	checkExe(t, b.settled(e.ID), sh, fmt.Sprintf("mnt:%d", e.MountNS), event.ExecutableFile, content(t, other))
	// The same without the record.
	checkExe(t, newBench(t).settled(e.ID), sh, fmt.Sprintf("mnt:%d", e.MountNS), event.ExecutableFile, content(t, other))
}

// A file system that only the other namespace has.
func TestRealPrivateFile(t *testing.T) {
	b := newBench(t)
	sh := shell(t, t.TempDir(), "sh")
	pid := start(t, isolated(t, "mount -t tmpfs none /mnt; cp "+sh+" /mnt/sh; exec /mnt/sh -c '"+waiting+"'", 0))
	e := observed(t, pid, 2)
	b.Exec(e)
	view := fmt.Sprintf("mnt:%d", e.MountNS)
	checkExe(t, b.settled(e.ID), "/mnt/sh", view, event.ExecutableFile, content(t, sh))
	if err := os.Remove(fmt.Sprintf("/proc/%d/root/mnt/sh", pid)); err != nil {
		t.Fatal(err)
	}
	checkExe(t, newBench(t).settled(e.ID), "/mnt/sh", view, event.ExecutableDeleted, content(t, sh))
}

// A descriptor carries a file into the host's mount namespace that the host
// does not show; its path must not pass for the host's.
func TestRealForeignDescriptor(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "sh")
	// In there the path of the host's shell leads to an evil one.
	pid := start(t, isolated(t, "mount -t tmpfs none "+dir+"; cp /bin/busybox "+sh+"; echo evil >>"+sh+"; echo up; read x", 0))
	evil, err := os.Open(fmt.Sprintf("/proc/%d/root%s", pid, sh))
	if err != nil {
		t.Fatal(err)
	}
	defer evil.Close()
	cmd := command("/proc/self/fd/3", "-c", waiting)
	cmd.ExtraFiles = []*os.File{evil}
	child := start(t, cmd)
	if got := readlink(t, fmt.Sprintf("/proc/%d/exe", child)); got != sh {
		t.Fatalf("the kernel shows %q, want the forged %q", got, sh)
	}
	e := observed(t, child, 2)
	if e.MountNS != b.host.namespace {
		t.Fatal("the program does not run in the host's mount namespace")
	}
	b.Exec(e)
	checkExe(t, b.settled(e.ID), sh, event.ViewUnverified, event.ExecutableFile, content(t, fmt.Sprintf("/proc/%d/exe", child)))
}

func TestRealPIDNamespace(t *testing.T) {
	b := newBench(t)
	sh := shell(t, t.TempDir(), "sh")
	pid := start(t, isolated(t, "exec "+sh+" -c '"+waiting+"'", unix.CLONE_NEWPID))
	e := observed(t, pid, 2)
	b.Exec(e)
	p := b.settled(e.ID)
	checkExe(t, p, sh, "", event.ExecutableFile, content(t, sh))
	if own := observed(t, os.Getpid(), 1).PIDNS; p.PIDNS == own || p.PIDNS != e.PIDNS {
		t.Errorf("PID namespace %d, its own is %d, ours is %d", p.PIDNS, e.PIDNS, own)
	}
}

// overlayfs shows stat another device than the kernel's inode has.
func TestRealOverlay(t *testing.T) {
	b := newBench(t)
	base := t.TempDir()
	for _, d := range []string{"lower", "merged", "tmp"} {
		if err := os.Mkdir(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sh := shell(t, filepath.Join(base, "lower"), "sh")
	pid := start(t, isolated(t, "cd "+base+"; mount -t tmpfs none tmp; mkdir tmp/u tmp/w; "+
		"mount -t overlay overlay -o lowerdir=lower,upperdir=tmp/u,workdir=tmp/w merged; exec "+base+"/merged/sh -c '"+waiting+"'", 0))
	e := observed(t, pid, 2)
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range parseMounts(info) {
		if m.fs == "overlay" && strings.HasPrefix(m.point, base) {
			e.File.Dev = m.dev
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/exe", pid), &st); err != nil {
		t.Fatal(err)
	}
	if e.File.Dev == kernelDev(unix.Major(st.Dev), unix.Minor(st.Dev)) {
		t.Fatal("stat shows the superblock's device: this test shows nothing")
	}
	e.Filename = "./sh" // only /proc can tell the path
	b.Exec(e)
	checkExe(t, b.settled(e.ID), base+"/merged/sh", fmt.Sprintf("mnt:%d", e.MountNS), event.ExecutableFile, content(t, sh))
}

// A record whose process has become another image says nothing of /proc.
func TestRealLaterImage(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	sh := shell(t, dir, "sh")
	pid := start(t, command(sh, "-c", waiting))
	e := observed(t, pid, 3)
	earlier := e
	earlier.ID.Exec, earlier.File.Inode, earlier.Filename = 2, e.File.Inode+1, "/bin/earlier"
	earlier.Args = []string{"earlier"}
	b.Exec(earlier)
	p := b.settled(earlier.ID)
	if p.Executable.Path != "/bin/earlier" || p.Executable.View != event.ViewUnverified || p.Executable.File.Inode != e.File.Inode+1 {
		t.Errorf("earlier image is %+v", p.Executable)
	}
	b.Exec(e)
	checkExe(t, b.settled(e.ID), sh, "", event.ExecutableFile, content(t, sh))

	// What was read from /proc for the earlier image is taken back when the
	// record shows that it had ended by then.
	c := newBench(t)
	checkExe(t, c.settled(earlier.ID), sh, "", event.ExecutableFile, content(t, sh))
	c.Exec(e)
	if p := c.Lookup(earlier.ID); p.Executable.Kind != event.ExecutableUnknown || p.Executable.Path != "" || len(p.Args) != 0 || p.Script != nil {
		t.Errorf("earlier image after the record: %+v", p)
	}
	if len(c.Changed()) == 0 {
		t.Error("the correction was not published")
	}
}
