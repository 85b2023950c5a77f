package broker

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that the core uses once everything is attached.
// ADMIN, BPF and PERFMON: kernel maps, iterators and fanotify marks of new
// mounts; PTRACE, DAC_* and CHROOT: looking into processes and their files;
// CHOWN, FOWNER: files for the group; NET_ADMIN: socket diagnosis.
const needed = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_OVERRIDE |
	1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_CHOWN | 1<<unix.CAP_FOWNER | 1<<unix.CAP_NET_ADMIN

// Confine takes from every thread of the core what it does not need once it is
// attached: loading modules, raw devices, the clock, other users' identities.
// It returns errors.ErrUnsupported in a binary built with cgo, whose threads
// Go does not know.
func Confine() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if needed&(1<<c) != 0 {
			continue
		}
		_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0, 0, 0, 0)
		switch {
		case errors.Is(errno, unix.EINVAL): // this kernel knows fewer
		case errno == unix.ENOTSUP:
			return errors.ErrUnsupported
		case errno != 0:
			return fmt.Errorf("drop capability %d: %w", c, errno)
		}
	}
	have, err := capabilities()
	if err != nil {
		return err
	}
	left := have.permitted & needed
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	half := func(v uint64) unix.CapUserData {
		return unix.CapUserData{Effective: uint32(v), Permitted: uint32(v)}
	}
	data := [2]unix.CapUserData{half(left), half(left >> 32)}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return fmt.Errorf("set capabilities: %w", errno)
	}
	return nil
}
