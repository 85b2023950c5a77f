package broker

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data; both architectures are little-endian.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetFlags  = 16 // low half of the first argument
)

// Seal makes the kernel refuse this process, all its threads, every way to
// start another: execve and execveat fail with EPERM, and so does clone without
// CLONE_THREAD; clone3, whose flags a filter cannot read, fails with ENOSYS,
// upon which callers use clone. Threads go on working. It cannot be undone.
//
// Call it after Start and before anything that answers the kernel. It needs
// CAP_SYS_ADMIN or no_new_privs, and seccomp filters (Linux 3.17).
func Seal() error {
	filter := sealFilter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fmt.Errorf("install seccomp filter against fork and exec: %w", errno)
	}
	if tid != 0 {
		return fmt.Errorf("install seccomp filter against fork and exec: thread %d has another filter", tid)
	}
	return nil
}

func sealFilter() []unix.SockFilter {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		least  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		anyBit = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
	)
	refuse := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	allow := unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}
	filter := []unix.SockFilter{
		{Code: load, K: offsetArch},
		{Code: equal, K: sealArch, Jt: 1}, // a foreign ABI has other numbers
		refuse,
		{Code: load, K: offsetNumber},
		{Code: least, K: 0x40000000, Jf: 1}, // x32 on amd64, nothing elsewhere
		refuse,
	}
	for _, number := range sealed {
		filter = append(filter, unix.SockFilter{Code: equal, K: number, Jf: 1}, refuse)
	}
	return append(filter,
		unix.SockFilter{Code: equal, K: unix.SYS_CLONE3, Jf: 1},
		unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		unix.SockFilter{Code: equal, K: unix.SYS_CLONE, Jf: 3},
		unix.SockFilter{Code: load, K: offsetFlags},
		unix.SockFilter{Code: anyBit, K: unix.CLONE_THREAD, Jt: 1},
		refuse,
		allow)
}
