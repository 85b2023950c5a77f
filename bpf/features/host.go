package features

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is what was read about the machine rather than probed. It explains
// answers and never decides one.
type Host struct {
	Kernel   string `json:"kernel"`              // release, as uname gives it
	Machine  string `json:"machine"`             // architecture, as uname gives it
	Lockdown string `json:"lockdown"`            // none, integrity, confidentiality or unknown
	Cgroup2  string `json:"cgroup2,omitempty"`   // where cgroup v2 is mounted; empty: nowhere
	Hybrid   bool   `json:"hybrid"`              // cgroup v1 hierarchies are mounted beside it
	NetClass string `json:"net_class,omitempty"` // why per-cgroup matching of sockets is off; empty: it is not
}

func readHost() Host {
	h := Host{Lockdown: readLockdown()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
		h.Machine = unix.ByteSliceToString(u.Machine[:])
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return h
	}
	h.Cgroup2, h.Hybrid = findCgroups(mounts)
	h.NetClass = netClassInUse(h.Kernel, mounts)
	return h
}

// findCgroups returns the first mount of cgroup2 in a mountinfo file, and
// whether version 1 hierarchies are there too.
func findCgroups(mountinfo []byte) (cgroup2 string, v1 bool) {
	for line := range strings.Lines(string(mountinfo)) {
		at, fstype, _, ok := mountFields(line)
		switch {
		case !ok:
		case fstype == "cgroup":
			v1 = true
		case fstype == "cgroup2" && cgroup2 == "":
			cgroup2 = at
		}
	}
	return cgroup2, v1
}

// mountFields takes the mount point, the type and the super block's options
// out of one line of mountinfo; see proc_pid_mountinfo(5).
func mountFields(line string) (at, fstype, options string, ok bool) {
	before, after, found := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !found || len(left) < 6 || len(right) < 3 {
		return "", "", "", false
	}
	return unescape.Replace(left[4]), right[0], right[2], true
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// netClassInUse reports a net_cls or net_prio hierarchy with groups in it.
// Before 5.15 a socket has room for one cgroup only, and a version 1 class that
// is assigned turns the version 2 one off until reboot.
func netClassInUse(release string, mountinfo []byte) string {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 || major > 5 || major == 5 && minor >= 15 {
		return ""
	}
	for line := range strings.Lines(string(mountinfo)) {
		at, fstype, options, ok := mountFields(line)
		if !ok || fstype != "cgroup" {
			continue
		}
		for option := range strings.SplitSeq(options, ",") {
			if (option == "net_cls" || option == "net_prio") && hasDirectory(at) {
				return option + " is in use at " + at
			}
		}
	}
	return ""
}

func hasDirectory(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, entry := range entries {
		if entry.IsDir() {
			return true
		}
	}
	return false
}

// readLockdown reads the lockdown mode. Where securityfs is not mounted, it is
// read through a mount that no path leads to.
func readLockdown() string {
	text, err := os.ReadFile("/sys/kernel/security/lockdown")
	if errors.Is(err, os.ErrNotExist) {
		text, err = readUnmounted("securityfs", "lockdown")
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return "none" // the kernel has no lockdown, or no securityfs at all
	}
	if err != nil {
		return "unknown"
	}
	return chosen(text)
}

// chosen returns the word in brackets: "none [integrity] confidentiality".
func chosen(text []byte) string {
	_, rest, open := bytes.Cut(text, []byte("["))
	word, _, closed := bytes.Cut(rest, []byte("]"))
	if !open || !closed {
		return "unknown"
	}
	return string(word)
}

func readUnmounted(fstype, name string) ([]byte, error) {
	root, err := mountDetached(fstype)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := unix.Openat(root, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s of %s: %w", name, fstype, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, 4096))
}

// mountDetached mounts a file system that is in nobody's tree of mounts and
// goes away with the descriptor.
func mountDetached(fstype string) (int, error) {
	fs, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open file system %s: %w", fstype, err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("create file system %s: %w", fstype, err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("mount file system %s: %w", fstype, err)
	}
	return root, nil
}
