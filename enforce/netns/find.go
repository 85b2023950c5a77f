package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ErrNotFound says that nobody is in a network namespace and no file names it.
var ErrNotFound = errors.New("network namespace without a process or a name")

// self is where this process is. /proc/self would be its first thread, which may
// be elsewhere for as long as a Do takes.
const self = "/proc/thread-self/ns/net"

// named are files that hold a namespace, and the threads of all processes.
var named = [...]string{"/proc/[0-9]*/task/[0-9]*/ns/net", "/run/netns/*", "/run/docker/netns/*"}

// Find opens the network namespace with the number that the kernel shows of it
// (the inode of /proc/PID/ns/net). Processes that are likely to be there are
// looked at first. The caller closes the file. It is nil for the namespace that
// this process is in.
func Find(number uint64, likely ...uint32) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Stat(self, &st); err != nil {
		return nil, fmt.Errorf("look up own network namespace: %w", err)
	}
	if st.Ino == number {
		return nil, nil
	}
	for _, pid := range likely {
		if f := open(fmt.Sprintf("/proc/%d/ns/net", pid), number); f != nil {
			return f, nil
		}
	}
	for _, pattern := range named {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("list network namespaces: %w", err)
		}
		for _, path := range paths {
			if f := open(path, number); f != nil {
				return f, nil
			}
		}
	}
	return nil, fmt.Errorf("find network namespace %d: %w", number, ErrNotFound)
}

// open is nil for another namespace, and for a process that has ended.
func open(path string, number uint64) *os.File {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Ino != number {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Ino != number {
		_ = f.Close()
		return nil
	}
	return f
}
