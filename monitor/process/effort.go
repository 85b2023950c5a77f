package process

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// effort tells what a call costs that runs on a thread of its own: on a machine
// that is too busy most of the time on the clock is nobody's fault but that of
// others who run. Its methods are safe for concurrent use.
type effort struct{ thread atomic.Int32 }

// of runs f and returns what it cost: all its time if it ever waited in the
// kernel, else only what it ran. What took the processor away from it is no
// reason to ask less of a file system that answers at once.
func (e *effort) of(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, before := time.Now(), usage()
	e.thread.Store(int32(unix.Gettid()))
	f()
	after := usage()
	if after.Nvcsw != before.Nvcsw {
		return time.Since(began)
	}
	return time.Duration(after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano())
}

func usage() (u unix.Rusage) {
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u) // it has no way to fail
	return u
}

// waits reports whether the call waits in the kernel: it has begun, and its
// thread neither runs nor is due to run, nor waits for its turn in Go, which is
// what a futex is here.
func (e *effort) waits() bool {
	thread := e.thread.Load()
	if thread == 0 {
		return false
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", thread))
	if err != nil {
		return true
	}
	in, _, _ := strings.Cut(string(b), " ")
	return in != "running\n" && in != strconv.Itoa(unix.SYS_FUTEX)
}
