package main

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// prepare makes the entry of one operation; what it points to is pinned.
type prepare func(fd int, p []byte, pinner *runtime.Pinner) sqe

func buffer(op uint8, off uint64) prepare {
	return func(fd int, p []byte, pinner *runtime.Pinner) sqe {
		pinner.Pin(&p[0])
		return sqe{op: op, fd: int32(fd), off: off, addr: uint64(uintptr(unsafe.Pointer(&p[0]))), len: uint32(len(p))}
	}
}

func message(op uint8) prepare {
	return func(fd int, p []byte, pinner *runtime.Pinner) sqe {
		pinner.Pin(&p[0])
		v := &unix.Iovec{Base: &p[0]}
		v.SetLen(len(p))
		pinner.Pin(v)
		m := &unix.Msghdr{Iov: v}
		m.SetIovlen(1)
		pinner.Pin(m)
		return sqe{op: op, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(m))), len: 1}
	}
}

func prepareSend(fd int, p []byte, pin *runtime.Pinner) sqe    { return buffer(opSend, 0)(fd, p, pin) }
func prepareSendZC(fd int, p []byte, pin *runtime.Pinner) sqe  { return buffer(opSendZC, 0)(fd, p, pin) }
func prepareRecv(fd int, p []byte, pin *runtime.Pinner) sqe    { return buffer(opRecv, 0)(fd, p, pin) }
func prepareSendmsg(fd int, p []byte, pin *runtime.Pinner) sqe { return message(opSendmsg)(fd, p, pin) }
func prepareRecvmsg(fd int, p []byte, pin *runtime.Pinner) sqe { return message(opRecvmsg)(fd, p, pin) }

func prepareWrite(fd int, p []byte, pin *runtime.Pinner) sqe {
	return buffer(opWrite, currentPosition)(fd, p, pin)
}

func prepareRead(fd int, p []byte, pin *runtime.Pinner) sqe {
	return buffer(opRead, currentPosition)(fd, p, pin)
}

// ringWay moves bytes by a ring of its own, in either direction.
type ringWay struct {
	ring    *ring
	prepare prepare
}

func openRingWay(flags uint32, prep prepare) (*ringWay, error) {
	r, err := newRing(flags)
	if err != nil {
		return nil, err
	}
	return &ringWay{ring: r, prepare: prep}, nil
}

func ringSender(flags uint32, prep prepare) func() (sender, error) {
	return func() (sender, error) { return openRingWay(flags, prep) }
}

func ringReceiver(flags uint32, prep prepare) func() (receiver, error) {
	return func() (receiver, error) { return openRingWay(flags, prep) }
}

func (w *ringWay) move(fd int, p []byte) (int, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	return w.ring.do(w.prepare(fd, p, &pinner))
}

func (w *ringWay) send(fd int, p []byte) (int, error) { return w.move(fd, p) }
func (w *ringWay) recv(fd int, p []byte) (int, error) { return w.move(fd, p) }
func (w *ringWay) Close() error                       { return w.ring.Close() }

// ringFixed uses a registered buffer and a registered socket: the operation
// names neither a descriptor nor an address of the caller's.
type ringFixed struct {
	ring   *ring
	buffer []byte
	fd     int // registered, -1 before the first use
}

func openRingFixed() (*ringFixed, error) {
	r, err := newRing(0)
	if err != nil {
		return nil, err
	}
	b, err := unix.Mmap(-1, 0, fixedBufferBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	if err := r.register(registerBuffers, unsafe.Pointer(&v), 1); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &ringFixed{ring: r, buffer: b, fd: -1}, nil
}

func ringFixedSender() (sender, error)     { return openRingFixed() }
func ringFixedReceiver() (receiver, error) { return openRingFixed() }

func (w *ringFixed) use(fd int) error {
	if w.fd == fd {
		return nil
	}
	file := int32(fd)
	if err := w.ring.register(registerFiles, unsafe.Pointer(&file), 1); err != nil {
		return err
	}
	w.fd = fd
	return nil
}

func (w *ringFixed) entry(op uint8, n int) sqe {
	return sqe{op: op, flags: sqeFixedFile, addr: uint64(uintptr(unsafe.Pointer(&w.buffer[0]))), len: uint32(n)}
}

func (w *ringFixed) send(fd int, p []byte) (int, error) {
	if err := w.use(fd); err != nil {
		return 0, err
	}
	return w.ring.do(w.entry(opWriteFixed, copy(w.buffer, p)))
}

func (w *ringFixed) recv(fd int, p []byte) (int, error) {
	if err := w.use(fd); err != nil {
		return 0, err
	}
	n, err := w.ring.do(w.entry(opReadFixed, min(len(p), len(w.buffer))))
	copy(p, w.buffer[:max(0, n)])
	return n, err
}

func (w *ringFixed) Close() error { return errors.Join(w.ring.Close(), unix.Munmap(w.buffer)) }
