package main

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is one system call of a forked child. A child of fork has one thread
// and no scheduler, so it may run nothing but plain calls.
type call struct {
	trap uintptr
	args [6]uintptr
	from int // index of the earlier call whose result becomes args[0], -1 for none
}

// forked is a child made without exec.
type forked struct {
	pid     int
	results []int64 // shared with the child: what each call returned, negative for -errno
	mem     []byte
}

// forkCalls forks; the child makes the calls and exits. The memory that the
// calls point to must not move: it is the caller's, and pinned or mapped.
func forkCalls(calls []call) (*forked, error) {
	mem, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map shared memory: %w", err)
	}
	f := &forked{mem: mem, results: unsafe.Slice((*int64)(unsafe.Pointer(&mem[0])), len(calls))}
	pid, errno := rawFork(calls, f.results)
	if errno != 0 {
		return nil, errors.Join(fmt.Errorf("fork: %w", errno), unix.Munmap(mem))
	}
	f.pid = pid
	return f, nil
}

// rawFork has no stack check, no allocation and no call but RawSyscall6
// between the clone and the child's exit.
//
//go:norace
//go:nosplit
//go:noinline
func rawFork(calls []call, results []int64) (int, syscall.Errno) {
	// All signals stay blocked in the child: the runtime's handlers would
	// look for threads that it does not have.
	all, old := ^uint64(0), uint64(0)
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(&old)), 0, 8, 0, 0)
		return int(pid), errno
	}
	for i := range calls {
		c := &calls[i]
		if c.from >= 0 {
			c.args[0] = uintptr(results[c.from])
		}
		r, _, e := syscall.RawSyscall6(c.trap, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
		results[i] = int64(r)
		if e != 0 {
			results[i] = -int64(e)
			break
		}
	}
	for {
		syscall.RawSyscall6(syscall.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}

// wait joins the child and returns what its calls returned.
func (f *forked) wait() ([]int64, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(f.pid, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("wait for child: %w", err)
		}
		break
	}
	results := append([]int64(nil), f.results...)
	if err := unix.Munmap(f.mem); err != nil {
		return nil, fmt.Errorf("unmap shared memory: %w", err)
	}
	for i, r := range results {
		if r < 0 {
			return nil, fmt.Errorf("call %d of the child: %w", i, unix.Errno(-r))
		}
	}
	return results, nil
}

// fixed returns n bytes that do not move.
func fixed(n int) ([]byte, error) {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	return p, nil
}

func address(p []byte) uintptr { return uintptr(unsafe.Pointer(&p[0])) }
