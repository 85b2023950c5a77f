package main

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tcpZeroCopyReceive is struct tcp_zerocopy_receive as far as Linux 5.10 has it.
type tcpZeroCopyReceive struct {
	address  uint64
	length   uint32 // asked for and got
	skipHint uint32 // bytes that have to be read in the ordinary way first
	inq      uint32
	err      int32
}

const mapBytes = 64 << 10

// mapReceiver lets the kernel map the socket's pages (TCP_ZEROCOPY_RECEIVE) and
// reads what does not fill a page.
type mapReceiver struct {
	mem    []byte // of the one socket that it serves
	mapped int
}

func (s *mapReceiver) recv(fd int, p []byte) (int, error) {
	if err := s.open(fd); err != nil {
		return 0, err
	}
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(set, -1); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	want := min(len(p), mapBytes) &^ (os.Getpagesize() - 1)
	if want == 0 {
		return unix.Read(fd, p)
	}
	z := tcpZeroCopyReceive{address: uint64(uintptr(unsafe.Pointer(&s.mem[0]))), length: uint32(want)}
	size := uint32(unsafe.Sizeof(z))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_ZEROCOPY_RECEIVE,
		uintptr(unsafe.Pointer(&z)), uintptr(unsafe.Pointer(&size)), 0)
	switch {
	case errno == unix.EIO: // the end
		return unix.Read(fd, p)
	case errno != 0:
		return 0, fmt.Errorf("receive without copying: %w", errno)
	case z.length > 0:
		s.mapped += int(z.length)
		return copy(p, s.mem[:z.length]), nil
	case z.skipHint > 0:
		return unix.Read(fd, p[:min(len(p), int(z.skipHint))])
	}
	return unix.Read(fd, p[:want])
}

func (s *mapReceiver) open(fd int) error {
	if s.mem != nil {
		return nil
	}
	var err error
	if s.mem, err = unix.Mmap(fd, 0, mapBytes, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map socket: %w", err)
	}
	return nil
}

// Close fails if no page was ever mapped: then the way was not the one that its
// name promises.
func (s *mapReceiver) Close() error {
	if s.mem == nil {
		return nil
	}
	err := unix.Munmap(s.mem)
	if s.mapped == 0 {
		err = errors.Join(err, errors.New("the kernel mapped nothing of what was received"))
	}
	return err
}
