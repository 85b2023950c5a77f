package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func speedGenerators() []generator {
	return []generator{
		{"speed", "repeat one operation for a while and print how often it was done", runSpeed},
		{"speed-serve", "the other end of speed", runSpeedServe},
	}
}

// speed is the result of one run; what Ops counts depends on the workload.
type speed struct {
	Ops uint64        `json:"ops"`
	Ns  time.Duration `json:"ns"`
}

// target is what a workload works on.
type target struct {
	netip.AddrPort        // of speed-serve
	dir            string // for files
}

// workload is one operation that is repeated. A step is one operation or more.
type workload struct {
	open func(t target) (step func() (int, error), err error)
}

func workloads() map[string]workload {
	return map[string]workload{
		"connect":         {openConnect},
		"udp-connected":   {func(to target) (func() (int, error), error) { return openUDP(to, true) }},
		"udp-unconnected": {func(to target) (func() (int, error), error) { return openUDP(to, false) }},
		"tcp-round-trip":  {openRoundTrip},
		"tcp-1k":          {func(to target) (func() (int, error), error) { return openWrites(to, 1024) }},
		"tcp-bulk":        {func(to target) (func() (int, error), error) { return openWrites(to, 64<<10) }},
		"exec":            {openExec},
		"sockets":         {openSockets},
		"peers":           {openPeers},
	}
}

func runSpeed(args []string) error {
	f := flags("speed")
	what := f.String("what", "connect", "workload")
	length := f.Duration("for", 300*time.Millisecond, "how long")
	count := f.Uint64("count", 0, "how many operations, instead of how long")
	var to netip.AddrPort
	f.TextVar(&to, "to", netip.AddrPort{}, "address of speed-serve")
	dir := f.String("dir", os.TempDir(), "directory for files")
	if err := f.Parse(args); err != nil {
		return err
	}
	w, ok := workloads()[*what]
	if !ok {
		return fmt.Errorf("no workload %q", *what)
	}
	runtime.LockOSThread()
	step, err := w.open(target{to, *dir})
	if err != nil {
		return fmt.Errorf("prepare %s: %w", *what, err)
	}
	s, err := repeat(step, *length, *count)
	if err != nil {
		return fmt.Errorf("%s after %d operations: %w", *what, s.Ops, err)
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

// repeat looks at the clock only now and then: it is as dear as some steps.
func repeat(step func() (int, error), length time.Duration, count uint64) (speed, error) {
	const between = 16
	var s speed
	begin := time.Now()
	for {
		for range between {
			n, err := step()
			if err != nil {
				return s, err
			}
			s.Ops += uint64(n)
			if count > 0 && s.Ops >= count {
				s.Ns = time.Since(begin)
				return s, nil
			}
		}
		if s.Ns = time.Since(begin); count == 0 && s.Ns >= length {
			return s, nil
		}
	}
}

// raw is a system call without the scheduler's book-keeping, which would hide
// part of what is measured.
func raw(trap, a, b, c, d, e, f uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(trap, a, b, c, d, e, f)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

func pointer(p []byte) uintptr { return uintptr(unsafe.Pointer(&p[0])) }

// openConnect connects and closes by a reset, so that no port is kept waiting.
func openConnect(to target) (func() (int, error), error) {
	name := rawSockaddr(family(to.Addr()), to.AddrPort)
	linger := []int32{1, 0}
	return func() (int, error) {
		fd, err := raw(unix.SYS_SOCKET, uintptr(family(to.Addr())), unix.SOCK_STREAM, 0, 0, 0, 0)
		if err != nil {
			return 0, err
		}
		if _, err := raw(unix.SYS_CONNECT, uintptr(fd), pointer(name), uintptr(len(name)), 0, 0, 0); err != nil {
			return 0, err
		}
		_, err = raw(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER, uintptr(unsafe.Pointer(&linger[0])), 8, 0)
		if err != nil {
			return 0, err
		}
		_, err = raw(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0)
		return 1, err
	}, nil
}

func openUDP(to target, connected bool) (func() (int, error), error) {
	fd, err := openSocket(family(to.Addr()), "udp")
	if err != nil {
		return nil, err
	}
	one := []byte{1}
	name := rawSockaddr(family(to.Addr()), to.AddrPort)
	at, length := pointer(name), uintptr(len(name))
	if connected {
		if err := unix.Connect(fd, sockaddr(family(to.Addr()), to.AddrPort)); err != nil {
			return nil, err
		}
		at, length = 0, 0
	}
	return func() (int, error) {
		n, err := raw(unix.SYS_SENDTO, uintptr(fd), pointer(one), 1, 0, at, length)
		runtime.KeepAlive(name)
		return n, err
	}, nil
}

func dialTCP(to target, kind byte) (int, error) {
	fd, err := openSocket(family(to.Addr()), "tcp")
	if err != nil {
		return -1, err
	}
	if err := errors.Join(unix.Connect(fd, sockaddr(family(to.Addr()), to.AddrPort)), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)); err != nil {
		return -1, err
	}
	_, err = unix.Write(fd, []byte{kind})
	return fd, err
}

// What the other end shall do with a connection: the first byte says it.
const (
	kindEcho = 'e'
	kindSink = 's'
)

func openRoundTrip(to target) (func() (int, error), error) {
	fd, err := dialTCP(to, kindEcho)
	one := []byte{1}
	return func() (int, error) {
		if _, err := raw(unix.SYS_WRITE, uintptr(fd), pointer(one), 1, 0, 0, 0); err != nil {
			return 0, err
		}
		return raw(unix.SYS_READ, uintptr(fd), pointer(one), 1, 0, 0, 0)
	}, err
}

// openWrites counts kilobytes.
func openWrites(to target, size int) (func() (int, error), error) {
	fd, err := dialTCP(to, kindSink)
	p := make([]byte, size)
	return func() (int, error) {
		n, err := raw(unix.SYS_WRITE, uintptr(fd), pointer(p), uintptr(size), 0, 0, 0)
		return n / 1024, err
	}, err
}

// openExec runs the smallest program there is.
func openExec(t target) (func() (int, error), error) {
	path := filepath.Join(t.dir, "exit")
	if err := os.WriteFile(path, exitELF(), 0o755); err != nil {
		return nil, err
	}
	return func() (int, error) {
		pid, err := syscall.ForkExec(path, []string{path}, nil)
		if err != nil {
			return 0, err
		}
		var status syscall.WaitStatus
		_, err = syscall.Wait4(pid, &status, 0, nil)
		return 1, err
	}, nil
}

// openSockets makes a socket for one datagram: a new flow each time.
func openSockets(to target) (func() (int, error), error) {
	name := rawSockaddr(family(to.Addr()), to.AddrPort)
	one := []byte{1}
	return func() (int, error) {
		fd, err := raw(unix.SYS_SOCKET, uintptr(family(to.Addr())), unix.SOCK_DGRAM, 0, 0, 0, 0)
		if err != nil {
			return 0, err
		}
		if _, err := raw(unix.SYS_SENDTO, uintptr(fd), pointer(one), 1, 0, pointer(name), uintptr(len(name))); err != nil {
			return 0, err
		}
		_, err = raw(unix.SYS_CLOSE, uintptr(fd), 0, 0, 0, 0, 0)
		return 1, err
	}, nil
}

// openPeers sends from one socket, each datagram to another port and address
// of loopback: a new flow each time without a new socket.
func openPeers(target) (func() (int, error), error) {
	fd, err := openSocket(unix.AF_INET, "udp")
	if err != nil {
		return nil, err
	}
	name := rawSockaddr(unix.AF_INET, netip.MustParseAddrPort("127.0.0.1:1"))
	one := []byte{1}
	next := uint32(0)
	return func() (int, error) {
		next++
		name[2], name[3], name[6], name[7] = byte(next>>8)|0x80, byte(next), byte(next>>15), 1
		return raw(unix.SYS_SENDTO, uintptr(fd), pointer(one), 1, unix.MSG_DONTWAIT, pointer(name), uintptr(len(name)))
	}, nil
}
