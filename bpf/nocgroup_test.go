package bpf

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/bpf/features"
)

// TestLoadWithoutCgroupMount runs in a mount namespace without cgroup v2: the
// kernel side must attach to the root all the same, and leave no mount.
func TestLoadWithoutCgroupMount(t *testing.T) {
	if os.Getenv("SNITCH_NO_CGROUP") == "" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run=^TestLoadWithoutCgroupMount$", "-test.v")
		cmd.Env = append(os.Environ(), "SNITCH_NO_CGROUP=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	hideCgroups(t)
	if tier, why := features.Detect(t.Context()).Tier(); tier == features.TierInvalid {
		t.Fatalf("no tier without a mount: %v", why)
	}
	k, err := Load(Config{FlowEntries: 64})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if at := cgroupMounts(t); len(at) != 0 {
		t.Errorf("mounted afterwards: %v", at)
	}
}

func hideCgroups(t *testing.T) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	for _, at := range cgroupMounts(t) {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Fatalf("unmount %s: %v", at, err)
		}
	}
	if at := cgroupMounts(t); len(at) != 0 {
		t.Fatalf("still mounted: %v", at)
	}
}

func cgroupMounts(t *testing.T) (at []string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, " - cgroup2 ") {
			at = append(at, strings.Fields(line)[4])
		}
	}
	return at
}
