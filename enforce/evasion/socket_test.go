package evasion

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// payload is what no rule lets through; the counters know it by its length.
var payload = bytes.Repeat([]byte("secret"), payloadBytes/6+1)[:payloadBytes]

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}

func familyOf(to netip.AddrPort) int {
	if to.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// both is a way for both families.
func both(p *place, way func(to, open netip.AddrPort) error) error {
	return each(
		func() error { return way(p.V4, p.OpenV4) },
		func() error { return way(p.V6, p.OpenV6) })
}

// each tries all ways, whatever became of those before.
func each(ways ...func() error) error {
	var errs []error
	for i, way := range ways {
		if err := way(); err != nil {
			errs = append(errs, fmt.Errorf("way %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// with opens a socket for the time of f.
func with(family, kind, proto int, f func(fd int) error) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	// nobody waits for ever
	limit := unix.Timeval{Sec: 3}
	if err := errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)); err != nil {
		return fmt.Errorf("set patience: %w", err)
	}
	return f(fd)
}

func stream(to netip.AddrPort, f func(fd int) error) error {
	return with(familyOf(to), unix.SOCK_STREAM, 0, f)
}

func datagram(to netip.AddrPort, f func(fd int) error) error {
	return with(familyOf(to), unix.SOCK_DGRAM, 0, f)
}

// say connects and sends.
func say(fd int, to netip.AddrPort) error {
	if err := unix.Connect(fd, sockaddr(to)); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return write(fd)
}

func write(fd int) error {
	if _, err := unix.Write(fd, payload); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func sendto(fd, flags int, to netip.AddrPort) error {
	if err := unix.Sendto(fd, payload, flags, sockaddr(to)); err != nil {
		return fmt.Errorf("sendto: %w", err)
	}
	return nil
}

// disconnect takes a connection back by AF_UNSPEC.
func disconnect(fd int) error {
	var unspec [16]byte
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&unspec)), 16); errno != 0 {
		return fmt.Errorf("disconnect: %w", errno)
	}
	return nil
}

// rawAddress is a struct sockaddr of that family.
func rawAddress(family uint16, to netip.AddrPort) []byte {
	var b []byte
	port := []byte{byte(to.Port() >> 8), byte(to.Port())}
	if to.Addr().Is4() {
		b = append(port, to.Addr().AsSlice()...)
		b = append(b, make([]byte, 8)...)
	} else {
		b = append(port, 0, 0, 0, 0)
		b = append(b, to.Addr().AsSlice()...)
		b = append(b, make([]byte, 4)...)
	}
	head := *(*[2]byte)(unsafe.Pointer(&family))
	return append(head[:], b...)
}

func connectRaw(fd int, addr []byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr))); errno != 0 {
		return fmt.Errorf("connect: %w", errno)
	}
	return nil
}

func sendtoRaw(fd int, addr []byte) error {
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&payload[0])), uintptr(len(payload)), 0,
		uintptr(unsafe.Pointer(&addr[0])), uintptr(len(addr)))
	if errno != 0 {
		return fmt.Errorf("sendto: %w", errno)
	}
	return nil
}
