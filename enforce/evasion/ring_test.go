package evasion

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of io_uring(7).
const (
	opSendmsg   = 9
	opConnect   = 16
	opSend      = 26
	opSocket    = 45
	opSendZC    = 47
	opSendmsgZC = 48

	setupSQPoll    = 1 << 1
	enterGetEvents = 1 << 0
	enterWakeup    = 1 << 1
	ringNeedWakeup = 1 << 0
	sqeFixedFile   = 1 << 0
	sqeLink        = 1 << 2
	sqeAsync       = 1 << 4
	cqeMore        = 1 << 1
	registerFiles  = 2
	ringOffsetCQ   = 0x8000000
	ringOffsetSQEs = 0x10000000
	ringEntries    = 8
	fileSlots      = 4
)

type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFd uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// sqe is struct io_uring_sqe.
type sqe struct {
	op, flags uint8
	ioprio    uint16
	fd        int32
	off       uint64 // also: length of an address to connect to, another address
	addr      uint64
	len       uint32
	opFlags   uint32
	userData  uint64
	bufIndex  uint16
	_         uint16
	fileIndex uint32 // also: length of an address to send to
	_         [2]uint64
}

type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// ring is an io_uring; for one goroutine.
type ring struct {
	fd             int
	params         ringParams
	sq, cq, sqeMem []byte
}

func newRing(flags uint32) (*ring, error) {
	r := &ring{params: ringParams{flags: flags, sqThreadIdle: 50}}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&r.params)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("set up io_uring: %w", errno)
	}
	r.fd = int(fd)
	if err := r.mapMemory(); err != nil {
		return nil, err
	}
	slots := [fileSlots]int32{-1, -1, -1, -1}
	_, _, errno = unix.Syscall6(unix.SYS_IO_URING_REGISTER, fd, registerFiles, uintptr(unsafe.Pointer(&slots)), fileSlots, 0, 0)
	if errno != 0 {
		return nil, errors.Join(fmt.Errorf("register files: %w", errno), unix.Close(r.fd))
	}
	return r, nil
}

func (r *ring) mapMemory() error {
	p := &r.params
	for _, m := range []struct {
		to     *[]byte
		at     int64
		length uint32
	}{
		{&r.sq, 0, p.sq.array + p.sqEntries*4},
		{&r.cq, ringOffsetCQ, p.cq.cqes + p.cqEntries*uint32(unsafe.Sizeof(cqe{}))},
		{&r.sqeMem, ringOffsetSQEs, p.sqEntries * uint32(unsafe.Sizeof(sqe{}))},
	} {
		b, err := unix.Mmap(r.fd, m.at, int(m.length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return errors.Join(fmt.Errorf("map ring: %w", err), unix.Close(r.fd))
		}
		*m.to = b
	}
	return nil
}

func word(mem []byte, offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&mem[offset])) }

// do submits entries together and waits until all are complete; a zero-copy
// send has a second completion, when the kernel lets go of the buffer.
func (r *ring) do(entries ...sqe) error {
	p := &r.params
	tail := atomic.LoadUint32(word(r.sq, p.sq.tail))
	for i := range entries {
		slot := tail & *word(r.sq, p.sq.mask)
		entries[i].userData = uint64(i)
		*(*sqe)(unsafe.Pointer(&r.sqeMem[uintptr(slot)*unsafe.Sizeof(sqe{})])) = entries[i]
		*word(r.sq, p.sq.array+slot*4) = slot
		tail++
	}
	atomic.StoreUint32(word(r.sq, p.sq.tail), tail)
	submit, flags := uintptr(len(entries)), uintptr(enterGetEvents)
	if p.flags&setupSQPoll != 0 && atomic.LoadUint32(word(r.sq, p.sq.flags))&ringNeedWakeup != 0 {
		flags |= enterWakeup
	}
	var errs []error
	for left := len(entries); left > 0; {
		c, err := r.wait(submit, flags)
		if err != nil {
			return err
		}
		submit, flags = 0, enterGetEvents
		if c.res < 0 {
			errs = append(errs, fmt.Errorf("operation %d: %w", c.userData+1, unix.Errno(-c.res)))
		}
		if c.flags&cqeMore == 0 {
			left--
		}
	}
	return errors.Join(errs...)
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

func (r *ring) Close() error {
	return errors.Join(unix.Munmap(r.sq), unix.Munmap(r.cq), unix.Munmap(r.sqeMem), unix.Close(r.fd))
}
