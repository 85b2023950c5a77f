package main

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// execveat executes a descriptor; it returns only an error. Only the calling
// thread makes the call: the kernel ends the others itself.
func execveat(fd int, argv, env []*byte) error {
	empty := []byte{0}
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	runtime.KeepAlive(argv)
	runtime.KeepAlive(env)
	return errno
}
