package broker

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readable is what a helper may read of the file system: names and servers,
// certificates, time zones. Nothing of /var, /home, /root, /srv or /tmp: the
// user of helpers belongs to the group that may read the record, and what
// talks to a network needs none of it.
var readable = []string{"/etc", "/usr", "/lib", "/lib64", "/run", "/proc", "/sys", "/dev", "/nix/store", "/var/lib/ca-certificates"}

const (
	readFiles = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	// handled is everything that the first Landlock (Linux 5.13) knows: what is
	// not allowed again is refused.
	handled = readFiles | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SYM
)

// readOnly has the kernel refuse this process, all its threads, every file but
// those below readable, and these for anything but reading. Descriptors that
// are open stay. It cannot be undone, and needs no_new_privs. It returns
// errors.ErrUnsupported where the kernel has no Landlock, or in a binary built
// with cgo, whose threads Go does not know.
func readOnly() error {
	attr := struct{ handled uint64 }{handled}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno == unix.ENOSYS || errno == unix.EOPNOTSUPP || errno == unix.EPERM { // EPERM: a filter of system calls that is older
		return errors.ErrUnsupported
	}
	if errno != 0 {
		return fmt.Errorf("make Landlock rules: %w", errno)
	}
	defer unix.Close(int(ruleset))
	for _, dir := range readable {
		if err := allowReading(ruleset, dir); err != nil {
			return err
		}
	}
	switch _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno {
	case 0:
		return nil
	case unix.ENOTSUP:
		return errors.ErrUnsupported
	default:
		return fmt.Errorf("enforce Landlock rules: %w", errno)
	}
}

// allowReading adds a directory, if it is there.
func allowReading(ruleset uintptr, dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // what is not there cannot be read either
	}
	defer unix.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: readFiles, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	runtime.KeepAlive(&rule)
	if errno != 0 {
		return fmt.Errorf("allow reading of %s: %w", dir, errno)
	}
	return nil
}
