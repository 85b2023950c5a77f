package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of io_uring(7).
const (
	opReadFixed  = 4
	opWriteFixed = 5
	opSendmsg    = 9
	opRecvmsg    = 10
	opRead       = 22
	opWrite      = 23
	opSend       = 26
	opRecv       = 27
	opSendZC     = 47

	setupSQPoll      = 1 << 1
	enterGetEvents   = 1 << 0
	enterWakeup      = 1 << 1
	ringNeedWakeup   = 1 << 0
	sqeFixedFile     = 1 << 0
	cqeMore          = 1 << 1
	registerBuffers  = 0
	registerFiles    = 2
	offsetSQ         = 0
	offsetCQ         = 0x8000000
	offsetSQEs       = 0x10000000
	ringEntries      = 4
	sqThreadIdleMS   = 50
	currentPosition  = ^uint64(0)
	fixedBufferBytes = 64 << 10
)

type sqOffsets struct {
	head, tail, mask, entries, flags, dropped, array, _ uint32
	_                                                   uint64
}

type cqOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, _ uint32
	_                                                   uint64
}

type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFd uint32
	_                                                                      [3]uint32
	sq                                                                     sqOffsets
	cq                                                                     cqOffsets
}

// sqe is struct io_uring_sqe as the operations here use it.
type sqe struct {
	op, flags uint8
	ioprio    uint16
	fd        int32
	off       uint64
	addr      uint64
	len       uint32
	opFlags   uint32
	userData  uint64
	bufIndex  uint16
	_         uint16
	_         int32
	_         [2]uint64
}

type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// ring is an io_uring that runs one operation at a time.
type ring struct {
	fd             int
	params         ringParams
	sq, cq, sqeMem []byte
}

func newRing(flags uint32) (*ring, error) {
	r := &ring{params: ringParams{flags: flags, sqThreadIdle: sqThreadIdleMS}}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&r.params)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("set up io_uring: %w", errno)
	}
	r.fd = int(fd)
	p := &r.params
	var err error
	if r.sq, err = r.mmap(offsetSQ, int(p.sq.array+p.sqEntries*4)); err != nil {
		return nil, err
	}
	if r.cq, err = r.mmap(offsetCQ, int(p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))); err != nil {
		return nil, err
	}
	r.sqeMem, err = r.mmap(offsetSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})))
	return r, err
}

func (r *ring) mmap(offset int64, length int) ([]byte, error) {
	b, err := unix.Mmap(r.fd, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map ring: %w", err), unix.Close(r.fd))
	}
	return b, nil
}

func word(mem []byte, offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&mem[offset])) }

// do submits e and waits for its completion; a zero-copy send has a second
// one, when the kernel lets go of the buffer.
func (r *ring) do(e sqe) (int, error) {
	p := &r.params
	tail := atomic.LoadUint32(word(r.sq, p.sq.tail))
	slot := tail & *word(r.sq, p.sq.mask)
	*(*sqe)(unsafe.Pointer(&r.sqeMem[uintptr(slot)*unsafe.Sizeof(sqe{})])) = e
	*word(r.sq, p.sq.array+slot*4) = slot
	atomic.StoreUint32(word(r.sq, p.sq.tail), tail+1)
	submit := uintptr(1)
	var flags uintptr = enterGetEvents
	if p.flags&setupSQPoll != 0 {
		submit = 0
		if atomic.LoadUint32(word(r.sq, p.sq.flags))&ringNeedWakeup != 0 {
			flags |= enterWakeup
			submit = 1
		}
	}
	c, err := r.wait(submit, flags)
	if err != nil {
		return 0, err
	}
	if c.flags&cqeMore != 0 {
		if _, err := r.wait(0, enterGetEvents); err != nil {
			return 0, err
		}
	}
	if c.res < 0 {
		return 0, unix.Errno(-c.res)
	}
	return int(c.res), nil
}

func (r *ring) wait(submit, flags uintptr) (cqe, error) {
	p := &r.params
	for {
		head := atomic.LoadUint32(word(r.cq, p.cq.head))
		if submit == 0 && head != atomic.LoadUint32(word(r.cq, p.cq.tail)) {
			slot := head & *word(r.cq, p.cq.mask)
			c := *(*cqe)(unsafe.Pointer(&r.cq[p.cq.cqes+slot*uint32(unsafe.Sizeof(cqe{}))]))
			atomic.StoreUint32(word(r.cq, p.cq.head), head+1)
			return c, nil
		}
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, 1, flags, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return cqe{}, fmt.Errorf("enter ring: %w", errno)
		}
		submit, flags = 0, enterGetEvents
	}
}

func (r *ring) register(what uintptr, arg unsafe.Pointer, n uintptr) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), what, uintptr(arg), n, 0, 0)
	if errno != 0 {
		return fmt.Errorf("register with ring: %w", errno)
	}
	return nil
}

func (r *ring) Close() error {
	return errors.Join(unix.Munmap(r.sq), unix.Munmap(r.cq), unix.Munmap(r.sqeMem), unix.Close(r.fd))
}
