package main

import (
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagramSender sends one datagram whole; to is ignored on a connected socket.
type datagramSender interface {
	sendDatagram(fd int, p []byte, to netip.AddrPort) error
	io.Closer
}

// datagramReceiver reads one datagram and returns what the call returned.
type datagramReceiver interface {
	recvDatagram(fd int, p []byte) (int, error)
	io.Closer
}

// ways picks the pair of ways. A connected socket may use the ways of streams.
func (d *datagrams) ways() (datagramSender, datagramReceiver, error) {
	out, err := d.sender()
	if err != nil {
		return nil, nil, err
	}
	switch d.recvWay {
	case "recvmmsg-names":
		return out, namedReceiver(receiveNamed), nil
	case "uring-recvmsg-names":
		r, err := newRing(0)
		return out, ringNamed{r, d.domain()}, err
	}
	in, err := newReceiver(d.recvWay)
	return out, streamReceiver{in}, err
}

func (d *datagrams) sender() (datagramSender, error) {
	domain := d.domain()
	if d.connected {
		s, err := newSender(d.sendWay)
		return streamSender{s}, err
	}
	switch d.sendWay {
	case "sendto":
		return namedSender(func(fd int, p []byte, to netip.AddrPort) error {
			return unix.Sendto(fd, p, 0, sockaddr(domain, to))
		}), nil
	case "sendmsg":
		return namedSender(func(fd int, p []byte, to netip.AddrPort) error {
			n, err := unix.SendmsgBuffers(fd, parts(p, 3), nil, sockaddr(domain, to), 0)
			return whole(n, len(p), err)
		}), nil
	case "sendmmsg":
		return namedSender(func(fd int, p []byte, to netip.AddrPort) error { return sendNamed(fd, p, domain, to) }), nil
	case "uring-sendmsg":
		r, err := newRing(0)
		return ringNamed{r, domain}, err
	}
	return nil, fmt.Errorf("no way to send to an address is called %q", d.sendWay)
}

func whole(n, want int, err error) error {
	if err == nil && n != want {
		return fmt.Errorf("%d of %d bytes taken", n, want)
	}
	return err
}

type namedSender func(fd int, p []byte, to netip.AddrPort) error

func (f namedSender) sendDatagram(fd int, p []byte, to netip.AddrPort) error { return f(fd, p, to) }
func (f namedSender) Close() error                                           { return nil }

type namedReceiver func(fd int, p []byte) (int, error)

func (f namedReceiver) recvDatagram(fd int, p []byte) (int, error) { return f(fd, p) }
func (f namedReceiver) Close() error                               { return nil }

type streamSender struct{ sender }

func (s streamSender) sendDatagram(fd int, p []byte, _ netip.AddrPort) error {
	n, err := s.send(fd, p)
	return whole(n, len(p), err)
}

type streamReceiver struct{ receiver }

func (s streamReceiver) recvDatagram(fd int, p []byte) (int, error) { return s.recv(fd, p) }

// rawSockaddr is the address as the kernel reads it, for calls that x/sys has
// no wrapper for.
func rawSockaddr(domain int, a netip.AddrPort) []byte {
	port := [2]byte{byte(a.Port() >> 8), byte(a.Port())}
	if domain == unix.AF_INET {
		raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().Unmap().As4()}
		raw.Port = *(*uint16)(unsafe.Pointer(&port))
		return append([]byte(nil), (*[unix.SizeofSockaddrInet4]byte)(unsafe.Pointer(&raw))[:]...)
	}
	raw := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: a.Addr().As16()}
	raw.Port = *(*uint16)(unsafe.Pointer(&port))
	return append([]byte(nil), (*[unix.SizeofSockaddrInet6]byte)(unsafe.Pointer(&raw))[:]...)
}

func sendNamed(fd int, p []byte, domain int, to netip.AddrPort) error {
	msgs, vectors := messages([][]byte{p})
	name := rawSockaddr(domain, to)
	msgs[0].hdr.Name = &name[0]
	msgs[0].hdr.Namelen = uint32(len(name))
	n, err := mmsg(unix.SYS_SENDMMSG, fd, msgs, 0)
	runtime.KeepAlive(vectors)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d messages sent, want 1", n)
	}
	return whole(int(msgs[0].len), len(p), err)
}

func receiveNamed(fd int, p []byte) (int, error) {
	msgs, vectors := messages([][]byte{p})
	name := make([]byte, unix.SizeofSockaddrAny)
	msgs[0].hdr.Name = &name[0]
	msgs[0].hdr.Namelen = uint32(len(name))
	_, err := mmsg(unix.SYS_RECVMMSG, fd, msgs, 0)
	runtime.KeepAlive(vectors)
	return int(msgs[0].len), err
}

// ringNamed sends and receives by IORING_OP_SENDMSG and RECVMSG with a name.
type ringNamed struct {
	*ring
	domain int
}

func (r ringNamed) message(op uint8, fd int, p, name []byte) (int, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	v := new(unix.Iovec)
	if len(p) > 0 {
		pinner.Pin(&p[0])
		v.Base = &p[0]
	}
	v.SetLen(len(p))
	m := &unix.Msghdr{Iov: v, Name: &name[0], Namelen: uint32(len(name))}
	m.SetIovlen(1)
	pinner.Pin(v)
	pinner.Pin(&name[0])
	pinner.Pin(m)
	return r.do(sqe{op: op, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(m))), len: 1})
}

func (r ringNamed) sendDatagram(fd int, p []byte, to netip.AddrPort) error {
	n, err := r.message(opSendmsg, fd, p, rawSockaddr(r.domain, to))
	return whole(n, len(p), err)
}

func (r ringNamed) recvDatagram(fd int, p []byte) (int, error) {
	return r.message(opRecvmsg, fd, p, make([]byte, unix.SizeofSockaddrAny))
}
