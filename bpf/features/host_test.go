package features

import "testing"

const hybrid = `24 29 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
31 24 0:26 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate
33 31 0:28 / /sys/fs/cgroup/net\040cls rw shared:11 - cgroup cgroup rw,net_cls
`

func TestFindCgroups(t *testing.T) {
	for _, test := range []struct {
		name, mounts, cgroup2 string
		v1                    bool
	}{
		{"hybrid", hybrid, "/sys/fs/cgroup/unified", true},
		{"unified", "32 31 0:27 / /sys/fs/cgroup rw shared:10 - cgroup2 cgroup2 rw", "/sys/fs/cgroup", false},
		{"no optional fields", "32 31 0:27 / /c\\134g rw - cgroup2 cgroup2 rw", `/c\g`, false},
		{"none", "24 29 0:22 / /sys rw - sysfs sysfs rw", "", false},
		{"garbage", "cgroup2 - - cgroup2 x\n - cgroup2\n", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cgroup2, v1 := findCgroups([]byte(test.mounts))
			if cgroup2 != test.cgroup2 || v1 != test.v1 {
				t.Errorf("got %q, %v; want %q, %v", cgroup2, v1, test.cgroup2, test.v1)
			}
		})
	}
}

func TestNetClassInUse(t *testing.T) {
	dir := t.TempDir()
	mounts := "33 31 0:28 / " + dir + " rw - cgroup cgroup rw,net_cls,net_prio\n"
	if got := netClassInUse("5.10.0-32-amd64", []byte(mounts)); got != "" {
		t.Errorf("an empty hierarchy is in use: %q", got)
	}
	used := "33 31 0:28 / " + dir + "/.. rw - cgroup cgroup rw,net_cls,net_prio\n"
	if got, want := netClassInUse("5.10.0-32-amd64", []byte(used)), "net_cls is in use at "+dir+"/.."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, release := range []string{"5.15.0", "6.1.0", "unheard of"} {
		if got := netClassInUse(release, []byte(used)); got != "" {
			t.Errorf("%s: got %q, want nothing", release, got)
		}
	}
}

func TestChosen(t *testing.T) {
	for text, want := range map[string]string{
		"none [integrity] confidentiality\n": "integrity",
		"[none] integrity confidentiality\n": "none",
		"":                                   "unknown", "none": "unknown", "[none": "unknown",
	} {
		if got := chosen([]byte(text)); got != want {
			t.Errorf("chosen(%q) is %q, want %q", text, got, want)
		}
	}
}

func FuzzFindCgroups(f *testing.F) {
	f.Add([]byte(hybrid))
	f.Add([]byte(" - cgroup2 \\0"))
	f.Fuzz(func(_ *testing.T, mounts []byte) {
		findCgroups(mounts)
		netClassInUse("5.10", mounts)
		chosen(mounts)
	})
}
