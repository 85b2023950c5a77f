package process

import (
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxLink bounds what is read of a symbolic link: the kernel's PATH_MAX.
const maxLink = 4096

// fileStat is what identifies an open file. dev is stat(2)'s device in the
// kernel's encoding: on overlayfs and btrfs it is not the superblock's.
type fileStat struct {
	dev, inode uint64
	links      uint32
	regular    bool
	mount      uint64 // id of the mount it was opened through

	size, mtime, ctime int64 // times in ns since 1970; from statTimes only
}

// statFD reads what identifies fd. It asks for no attribute that a file system
// in user space or on a network could be asked for, so that it cannot block.
func statFD(fd int) (fileStat, error) {
	return statx(fd, unix.STATX_MNT_ID)
}

// statTimes reads size and times too. It may ask the file system.
func statTimes(fd int) (fileStat, error) {
	return statx(fd, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID)
}

func statx(fd, mask int) (fileStat, error) {
	var s unix.Statx_t
	flags := unix.AT_EMPTY_PATH
	if mask == unix.STATX_MNT_ID {
		flags |= unix.AT_STATX_DONT_SYNC
	}
	if err := unix.Statx(fd, "", flags, mask, &s); err != nil {
		return fileStat{}, fmt.Errorf("stat open file: %w", err)
	}
	return fileStat{dev: kernelDev(s.Dev_major, s.Dev_minor), inode: s.Ino, links: s.Nlink,
		regular: s.Mode&unix.S_IFMT == unix.S_IFREG, mount: s.Mnt_id,
		size: int64(s.Size), mtime: s.Mtime.Sec*1e9 + int64(s.Mtime.Nsec), ctime: s.Ctime.Sec*1e9 + int64(s.Ctime.Nsec)}, nil
}

// linkFD is the path of an open file as the kernel knows it.
func linkFD(fd int) (string, error) {
	return readLink(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd))
}

func readLink(dir int, name string) (string, error) {
	var b [maxLink]byte
	n, err := unix.Readlinkat(dir, name, b[:])
	if err != nil {
		return "", fmt.Errorf("read link %q: %w", name, err)
	}
	return string(b[:n]), nil
}

func openAt(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// readFD fills b from fd until the end or until b is full.
func readFD(fd int, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := unix.Read(fd, b[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, err
		}
		if k == 0 {
			break
		}
		n += k
	}
	return n, nil
}

// closeFD ignores the error: nothing was written.
func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

// bootNow is CLOCK_BOOTTIME in nanoseconds.
func bootNow() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // cannot fail: the clock exists since 2.6.39
	}
	return uint64(ts.Nano())
}
