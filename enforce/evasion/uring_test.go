package evasion

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// ringAttempts are all forms of io_uring that open, connect or send.
func ringAttempts() []attempt {
	socket := []*bpftest.Feature{bpftest.IOUring("socket", opSocket, "5.19")}
	zero := []*bpftest.Feature{bpftest.IOUring("sendmsg-zc", opSendmsgZC, "6.1")}
	return []attempt{
		{name: "uring-connect", does: "io_uring: connect, then send", result: stopped, by: atConnect, short: true, needs: socket,
			act: withRing(0, connectByRing(0))},
		{name: "uring-linked", does: "io_uring: connect and send linked, by worker threads (`IOSQE_ASYNC`)", result: stopped, by: atConnect, needs: socket,
			act: withRing(0, connectByRing(sqeAsync))},
		{name: "uring-poll-thread", does: "io_uring: connect and send by the kernel's own thread (`SQPOLL`)", result: stopped, by: atConnect, needs: socket,
			act: withRing(setupSQPoll, connectByRing(0))},
		{name: "uring-direct", does: "io_uring: a socket that never has a descriptor (direct)", result: stopped, by: atConnect, needs: socket,
			act: withRing(0, connectDirect)},
		{name: "uring-message", does: "io_uring: `sendmsg`, and `send` with an address, of a registered file", result: stopped, by: atSendmsg, needs: socket,
			act: withRing(0, sendByRing(opSendmsg, opSend))},
		{name: "uring-zero-copy", does: "io_uring: `send_zc` and `sendmsg_zc`", result: stopped, by: atSendmsg, needs: zero,
			act: withRing(0, sendByRing(opSendmsgZC, opSendZC))},
		{name: "uring-of-another", does: "io_uring: the ring of a permitted program, taken by `pidfd_getfd`", result: stopped, by: atConnect + ": who submits is judged", needs: socket,
			help: holdRing(0), act: useRing},
		{name: "uring-poll-of-another", does: "the same, where that ring has a thread of its own (`SQPOLL`)", result: limit,
			by: "the permitted program's own thread sends. To take a descriptor of another process is to control it (`ptrace` rights)", needs: socket,
			help: holdRing(setupSQPoll), act: useRingOf},
	}
}

func withRing(flags uint32, way func(r *ring, to netip.AddrPort) error) func(*place) error {
	return func(p *place) error {
		r, err := newRing(flags)
		if err != nil {
			return err
		}
		defer r.Close()
		return both(p, func(to, _ netip.AddrPort) error { return way(r, to) })
	}
}

func connectEntry(fd int, addr []byte) sqe {
	return sqe{op: opConnect, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(&addr[0]))), off: uint64(len(addr))}
}

func sendEntry(op uint8, fd int) sqe {
	return sqe{op: op, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(&payload[0]))), len: payloadBytes}
}

func connectByRing(flags uint8) func(r *ring, to netip.AddrPort) error {
	return func(r *ring, to netip.AddrPort) error {
		addr := rawAddress(uint16(familyOf(to)), to)
		defer runtime.KeepAlive(addr)
		return stream(to, func(fd int) error {
			connect, send := connectEntry(fd, addr), sendEntry(opSend, fd)
			connect.flags, send.flags = sqeLink|flags, flags
			return r.do(connect, send)
		})
	}
}

// connectDirect has its socket in a slot of the ring only.
func connectDirect(r *ring, to netip.AddrPort) error {
	addr := rawAddress(uint16(familyOf(to)), to)
	defer runtime.KeepAlive(addr)
	for _, kind := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		open := sqe{op: opSocket, fd: int32(familyOf(to)), off: kind, fileIndex: 1}
		if err := r.do(open); err != nil {
			return fmt.Errorf("open: %w", err)
		}
		connect, send := connectEntry(0, addr), sendEntry(opSend, 0)
		connect.flags, send.flags = sqeLink|sqeFixedFile, sqeFixedFile
		if err := r.do(connect, send); err != nil {
			return err
		}
	}
	return nil
}

// sendByRing sends datagrams by a message and by an address, from a direct
// descriptor.
func sendByRing(message, send uint8) func(r *ring, to netip.AddrPort) error {
	return func(r *ring, to netip.AddrPort) error {
		addr := rawAddress(uint16(familyOf(to)), to)
		iov := unix.Iovec{Base: &payload[0], Len: payloadBytes}
		msg := unix.Msghdr{Name: &addr[0], Namelen: uint32(len(addr)), Iov: &iov, Iovlen: 1}
		defer runtime.KeepAlive(&msg)
		if err := r.do(sqe{op: opSocket, fd: int32(familyOf(to)), off: unix.SOCK_DGRAM, fileIndex: 1}); err != nil {
			return fmt.Errorf("open: %w", err)
		}
		byAddress := sendEntry(send, 0)
		byAddress.off, byAddress.fileIndex = uint64(uintptr(unsafe.Pointer(&addr[0]))), uint32(len(addr))
		byAddress.flags = sqeFixedFile
		return each(
			func() error {
				return r.do(sqe{op: message, flags: sqeFixedFile, addr: uint64(uintptr(unsafe.Pointer(&msg))), len: 1})
			},
			func() error { return r.do(byAddress) })
	}
}

// heldRing is how the taker finds a ring.
type heldRing struct {
	Fd     int
	Params []byte
	Memory uintptr // of its owner, for an address and payload
}

const ringPayloadAt = 64 // in Memory

func ringFile(p *place) string { return filepath.Join(p.Dir, "ring") }

// holdRing makes a ring and says which descriptor it is.
func holdRing(flags uint32) func(*place) error {
	return func(p *place) error {
		r, err := newRing(flags)
		if err != nil {
			return err
		}
		memory := make([]byte, ringPayloadAt+payloadBytes)
		text, err := json.Marshal(heldRing{Fd: r.fd, Memory: uintptr(unsafe.Pointer(&memory[0])),
			Params: unsafe.Slice((*byte)(unsafe.Pointer(&r.params)), unsafe.Sizeof(r.params))})
		if err != nil {
			return err
		}
		kept = append(kept, r, memory)
		return os.WriteFile(ringFile(p), text, 0o600)
	}
}

// takeRing maps the ring of another process.
func takeRing(p *place) (*ring, heldRing, error) {
	var held heldRing
	text, err := os.ReadFile(ringFile(p))
	if err == nil {
		err = json.Unmarshal(text, &held)
	}
	if err != nil {
		return nil, held, err
	}
	fd, err := takeDescriptor(p.Pid, held.Fd)
	if err != nil {
		return nil, held, err
	}
	r := &ring{fd: fd}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r.params)), unsafe.Sizeof(r.params)), held.Params)
	return r, held, r.mapMemory()
}

// useRing gives the ring of another process work.
func useRing(p *place) error {
	r, _, err := takeRing(p)
	if err != nil {
		return err
	}
	defer r.Close()
	return connectDirect(r, p.V4)
}

// useRingOf does so where the ring's thread reads the memory of its owner.
func useRingOf(p *place) error {
	r, held, err := takeRing(p)
	if err != nil {
		return err
	}
	defer r.Close()
	addr := rawAddress(unix.AF_INET, p.V4)
	mine := append(append(addr, make([]byte, ringPayloadAt-len(addr))...), payload...)
	_, err = unix.ProcessVMWritev(p.Pid, []unix.Iovec{{Base: &mine[0], Len: uint64(len(mine))}}, []unix.RemoteIovec{{Base: held.Memory, Len: len(mine)}}, 0)
	if err != nil {
		return fmt.Errorf("write memory: %w", err)
	}
	return each(
		func() error { return r.do(sqe{op: opSocket, fd: unix.AF_INET, off: unix.SOCK_STREAM, fileIndex: 1}) },
		func() error {
			return r.do(sqe{op: opConnect, flags: sqeLink | sqeFixedFile, addr: uint64(held.Memory), off: uint64(len(addr))},
				sqe{op: opSend, flags: sqeFixedFile, addr: uint64(held.Memory + ringPayloadAt), len: payloadBytes})
		})
}
