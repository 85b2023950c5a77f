package bpftest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroup is a directory of the cgroup v2 hierarchy that belongs to one test.
type Cgroup struct {
	dir  string // absolute
	root string // mount point of the hierarchy
}

// CgroupRoot finds where the cgroup v2 hierarchy is mounted: on hosts that
// also have v1 controllers it is not /sys/fs/cgroup.
func CgroupRoot() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("open mountinfo: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(before)
		if ok && len(fields) >= 5 && strings.HasPrefix(after, "cgroup2 ") && fields[3] == "/" {
			return fields[4], nil
		}
	}
	return "", errors.New("no cgroup v2 hierarchy is mounted")
}

// NewCgroup makes a cgroup that ends with the test.
func NewCgroup(tb testing.TB) *Cgroup {
	tb.Helper()
	c, err := OpenCgroup()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("remove cgroup: %v", err)
		}
	})
	return c
}

// OpenCgroup makes a cgroup below the root of the hierarchy. The caller closes
// it.
func OpenCgroup() (*Cgroup, error) {
	root, err := CgroupRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(root, "snitch-test-")
	if err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	return &Cgroup{dir: dir, root: root}, nil
}

// Child makes a cgroup inside c; it goes when c goes.
func (c *Cgroup) Child(name string) (*Cgroup, error) {
	dir := filepath.Join(c.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	return &Cgroup{dir: dir, root: c.root}, nil
}

// Dir is the cgroup's directory.
func (c *Cgroup) Dir() string { return c.dir }

// Path is the cgroup as /proc/PID/cgroup and the log of snitch show it.
func (c *Cgroup) Path() string { return strings.TrimPrefix(c.dir, c.root) }

// Procs lists the processes of c and of its children.
func (c *Cgroup) Procs() ([]int, error) {
	var pids []int
	err := filepath.WalkDir(c.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, s := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(s); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup: %w", err)
	}
	return pids, nil
}

// Close kills the processes in the cgroup and removes it with its children.
func (c *Cgroup) Close() error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		pids, err := c.Procs()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		err = c.rmdir()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// rmdir removes children first. A cgroup directory holds only files that go
// with it, so RemoveAll is of no use here.
func (c *Cgroup) rmdir() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			child := Cgroup{dir: filepath.Join(c.dir, e.Name()), root: c.root}
			if err := child.rmdir(); err != nil {
				return err
			}
		}
	}
	return os.Remove(c.dir)
}
