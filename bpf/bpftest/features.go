package bpftest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// IPv6 and what follows are features that generators of traffic need.
func IPv6() *Feature {
	return &Feature{Name: "ipv6", Config: "CONFIG_IPV6", Probe: socketProbe(unix.AF_INET6, unix.SOCK_DGRAM, 0)}
}

// UDPLite is IPPROTO_UDPLITE.
func UDPLite() *Feature {
	return &Feature{Name: "udplite", Until: "7.1", Config: "CONFIG_INET",
		Probe: socketProbe(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE)}
}

// SCTP is IPPROTO_SCTP, one-to-one and one-to-many.
func SCTP() *Feature {
	return &Feature{Name: "sctp", Config: "CONFIG_IP_SCTP",
		Probe: socketProbe(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)}
}

// MPTCP is IPPROTO_MPTCP.
func MPTCP() *Feature {
	return &Feature{Name: "mptcp", Since: "5.6", Config: "CONFIG_MPTCP",
		Probe: socketProbe(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP)}
}

// AFPacket is AF_PACKET.
func AFPacket() *Feature {
	return &Feature{Name: "af_packet", Config: "CONFIG_PACKET", Probe: socketProbe(unix.AF_PACKET, unix.SOCK_RAW, 0)}
}

// AFXDP is AF_XDP.
func AFXDP() *Feature {
	return &Feature{Name: "af_xdp", Config: "CONFIG_XDP_SOCKETS", Probe: socketProbe(unix.AF_XDP, unix.SOCK_RAW, 0)}
}

// UDPSegment is generic segmentation offload for UDP.
func UDPSegment() *Feature {
	return &Feature{Name: "udp-gso", Probe: optionProbe(unix.AF_INET, unix.SOCK_DGRAM, unix.SOL_UDP, unix.UDP_SEGMENT, 1000)}
}

// ZeroCopyTCP is MSG_ZEROCOPY on TCP.
func ZeroCopyTCP() *Feature {
	return &Feature{Name: "msg-zerocopy", Probe: optionProbe(unix.AF_INET, unix.SOCK_STREAM, unix.SOL_SOCKET, unix.SO_ZEROCOPY, 1)}
}

// KernelTLS is the upper layer protocol "tls" of TCP.
func KernelTLS() *Feature {
	return &Feature{Name: "ktls", Config: "CONFIG_TLS", Probe: probeTLS}
}

// VsockLoopback is AF_VSOCK to the local machine.
func VsockLoopback() *Feature {
	return &Feature{Name: "vsock-loopback", Since: "5.6", Config: "CONFIG_VSOCKETS_LOOPBACK", Probe: probeVsock}
}

// Vsock is AF_VSOCK without a transport.
func Vsock() *Feature {
	return &Feature{Name: "vsock", Config: "CONFIG_VSOCKETS", Probe: socketProbe(unix.AF_VSOCK, unix.SOCK_STREAM, 0)}
}

// IOUring is io_uring with the opcodes up to op (IORING_OP_*), new in since.
func IOUring(name string, op uint8, since string) *Feature {
	return &Feature{Name: "io_uring-" + name, Since: since, Config: "CONFIG_IO_URING", Probe: func() error { return probeRing(op) }}
}

// Namespaces are pid, mount and user namespaces.
func Namespaces() *Feature {
	return &Feature{Name: "pid-namespace", Config: "CONFIG_PID_NS", Probe: func() error {
		_, err := os.Stat("/proc/self/ns/pid")
		return err
	}}
}

// TinyELF is the generator that writes its machine code itself.
func TinyELF() *Feature {
	return &Feature{Name: "amd64", Probe: func() error {
		if runtime.GOARCH != "amd64" {
			return fmt.Errorf("this machine is %s", runtime.GOARCH)
		}
		return nil
	}}
}

func socketProbe(family, typ, proto int) func() error {
	return func() error {
		fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		return unix.Close(fd)
	}
}

func optionProbe(family, typ, level, option, value int) func() error {
	return func() error {
		fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		defer unix.Close(fd)
		return unix.SetsockoptInt(fd, level, option, value)
	}
}

// probeTLS connects to itself: only a connected socket takes the protocol.
func probeTLS() error {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(l)
	if err := errors.Join(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(l, 1)); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	at, err := unix.Getsockname(l)
	if err != nil {
		return err
	}
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(c)
	if err := unix.Connect(c, at); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return unix.SetsockoptString(c, unix.IPPROTO_TCP, unix.TCP_ULP, "tls")
}

// probeVsock binds, listens and connects: a kernel without the loopback
// transport binds without complaint.
func probeVsock() error {
	l, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(l)
	const cidLocal = 1
	if err := unix.Bind(l, &unix.SockaddrVM{CID: cidLocal, Port: unix.VMADDR_PORT_ANY}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(l, 1); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	at, err := unix.Getsockname(l)
	if err != nil {
		return err
	}
	c, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(c)
	return unix.Connect(c, at)
}

// probeRing asks the kernel for its table of opcodes.
func probeRing(op uint8) error {
	const probeHeader, probeOp, registerProbe, supported = 16, 8, 8, 1
	params := make([]byte, 120)
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 2, uintptr(unsafe.Pointer(&params[0])), 0)
	if errno != 0 {
		return fmt.Errorf("set up a ring: %w", errno)
	}
	defer unix.Close(int(fd))
	table := make([]byte, probeHeader+256*probeOp)
	_, _, errno = unix.Syscall6(unix.SYS_IO_URING_REGISTER, fd, registerProbe, uintptr(unsafe.Pointer(&table[0])), 256, 0, 0)
	runtime.KeepAlive(table)
	if errno != 0 {
		return fmt.Errorf("probe opcodes: %w", errno)
	}
	if last := table[0]; op > last || table[probeHeader+int(op)*probeOp+2]&supported == 0 {
		return errors.ErrUnsupported
	}
	return nil
}
