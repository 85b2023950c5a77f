package features

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// enotsupp is the kernel's own ENOTSUPP, which no libc knows.
const enotsupp = syscall.Errno(524)

// conclusive lists what a kernel says that will say it again.
var conclusive = []error{
	ebpf.ErrNotSupported, btf.ErrNotFound,
	unix.EINVAL, unix.EACCES, unix.ENOENT, unix.ENOSYS, unix.EOPNOTSUPP,
	unix.EPROTONOSUPPORT, unix.ENODEV, enotsupp,
}

// refused is the result of a probe that the kernel did not take. Errors that
// may pass (no memory, busy, interrupted) leave the answer unknown.
func refused(f Feature, err error) Result {
	r := Result{Feature: f, Reason: err.Error()}
	if errors.Is(err, unix.EPERM) {
		return denied(r)
	}
	for _, known := range conclusive {
		if errors.Is(err, known) {
			r.Answer = No
			break
		}
	}
	if errors.Is(err, btf.ErrNotFound) {
		r.Reason = "this kernel has no such thing"
	}
	if verifier := (*ebpf.VerifierError)(nil); errors.As(err, &verifier) {
		r.Answer = No
		r.Reason = "the verifier refused it: " + lastLine(verifier)
		if mode := readLockdown(); f == KernelRead && mode == "confidentiality" {
			r.Reason = lockedDown(mode)
		}
	}
	return r
}

// denied explains a missing permission. The library's hint at RLIMIT_MEMLOCK
// misleads: the limit is lifted before the first probe.
func denied(r Result) Result {
	if !privileged() {
		r.Reason = "needs root (CAP_SYS_ADMIN)"
		return r
	}
	r.Answer = No
	if mode := readLockdown(); mode != "none" && mode != "unknown" {
		r.Reason = lockedDown(mode)
		return r
	}
	r.Reason = "the kernel does not permit it, although this is root"
	return r
}

func lockedDown(mode string) string { return "the kernel is locked down (" + mode + ")" }

// lastLine returns what the verifier objected to: its last line but the
// statistics.
func lastLine(err *ebpf.VerifierError) string {
	for i := len(err.Log) - 1; i >= 0; i-- {
		line := err.Log[i]
		if line != "" && !statistics(line) {
			return line
		}
	}
	return err.Cause.Error()
}

func statistics(line string) bool {
	var n int
	matched, _ := fmt.Sscanf(line, "processed %d insns", &n)
	return matched == 1
}

// privileged reports whether this process may do all that probes need.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
