package features

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// CgroupRoot is an open root directory of the cgroup v2 hierarchy.
type CgroupRoot struct {
	// Path leads to it in this process as long as the CgroupRoot is open.
	Path    string
	private int // descriptor of a mount that is in nobody's tree; -1: none
}

// OpenCgroupRoot finds where cgroup v2 is mounted: the usual place, or beside
// the v1 hierarchies of a hybrid host. Where it is not mounted at all it is
// mounted for this process only; nothing of that can be seen from outside, and
// it ends with Close. Programs that were attached meanwhile stay attached.
func OpenCgroupRoot() (*CgroupRoot, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	if at, _ := findCgroups(mounts); at != "" {
		return &CgroupRoot{Path: at, private: -1}, nil
	}
	fd, err := mountDetached("cgroup2")
	if err != nil {
		return nil, fmt.Errorf("cgroup v2 is mounted nowhere: %w", err)
	}
	return &CgroupRoot{Path: "/proc/self/fd/" + strconv.Itoa(fd), private: fd}, nil
}

// Close ends a private mount.
func (r *CgroupRoot) Close() error {
	if r.private < 0 {
		return nil
	}
	fd := r.private
	r.private = -1
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close cgroup root: %w", err)
	}
	return nil
}
