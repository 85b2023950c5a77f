package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// runXDP makes an AF_XDP socket with everything that a bind asks for and holds
// it: what its rings move is memory traffic that the kernel never shows.
func runXDP(args []string) error {
	f := flags("xdp")
	link := f.String("link", "", "name of the link")
	hold := f.Duration("hold", 3*time.Second, "how long to keep the socket")
	return reported("xdp", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		ifi, err := net.InterfaceByName(*link)
		if err != nil {
			return fmt.Errorf("find link: %w", err)
		}
		fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open XDP socket: %w", err)
		}
		defer unix.Close(fd)
		if err := bindXDP(fd, ifi.Index); err != nil {
			return err
		}
		time.Sleep(*hold)
		r.Flows = append(r.Flows, report.Flow{Proto: "xdp", Family: "xdp", NetNS: socketNamespace(fd), Result: "seen|closed"})
		return nil
	})
}

func bindXDP(fd, link int) error {
	const frames, frameBytes = 64, 4096
	mem, err := unix.Mmap(-1, 0, frames*frameBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map frames: %w", err)
	}
	reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&mem[0]))), Len: uint64(len(mem)), Size: frameBytes}
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG,
		uintptr(unsafe.Pointer(&reg)), unsafe.Sizeof(reg), 0)
	if errno != 0 {
		return fmt.Errorf("register frames: %w", errno)
	}
	for _, ring := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING, unix.XDP_TX_RING} {
		if err := unix.SetsockoptInt(fd, unix.SOL_XDP, ring, frames); err != nil {
			return fmt.Errorf("set ring %d: %w", ring, err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(link)}); err != nil {
		return fmt.Errorf("bind XDP socket: %w", err)
	}
	return nil
}

const vsockLocal = 1 // VMADDR_CID_LOCAL

// runVsock talks to itself where the kernel has the loopback transport, and
// else holds a listening socket that nobody can reach.
func runVsock(args []string) error {
	f := flags("vsock")
	n := f.Int("n", 5000, "bytes each way; 0 only listens")
	hold := f.Duration("hold", 3*time.Second, "how long to keep the listener of -n 0")
	return reported("vsock", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		l, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		defer unix.Close(l)
		if err := unix.Bind(l, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: unix.VMADDR_PORT_ANY}); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		if err := unix.Listen(l, 1); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if *n == 0 {
			time.Sleep(*hold)
			r.Flows = append(r.Flows, report.Flow{Proto: "vsock", Family: "vsock", Result: "seen|listening|closed"})
			return nil
		}
		flow, err := vsockExchange(l, *n)
		r.Flows = append(r.Flows, flow)
		return err
	})
}

// vsockExchange sums both ends, which are sockets of one process.
func vsockExchange(l, n int) (report.Flow, error) {
	flow := report.Flow{Proto: "vsock", Family: "vsock", Result: "seen|established|closed"}
	at, err := unix.Getsockname(l)
	if err != nil {
		return flow, err
	}
	vm, ok := at.(*unix.SockaddrVM)
	if !ok {
		return flow, errors.New("own address is no vsock address")
	}
	c, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return flow, err
	}
	defer unix.Close(c)
	if err := unix.Connect(c, &unix.SockaddrVM{CID: vsockLocal, Port: vm.Port}); err != nil {
		return flow, fmt.Errorf("connect: %w", err)
	}
	s, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		return flow, fmt.Errorf("accept: %w", err)
	}
	defer unix.Close(s)
	if err := errors.Join(passBytes(c, s, n, fromClient), passBytes(s, c, n, fromServer)); err != nil {
		return flow, err
	}
	flow.Sent, flow.Received = 2*uint64(n), 2*uint64(n)
	return flow, nil
}

func runSCTPMany(args []string) error {
	d := datagrams{proto: "sctp"}
	f := flags("sctp-many")
	d.flags(f)
	return reported("sctp-many", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := unix.Socket(family(d.to[0].Addr()), unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
		if err != nil {
			return fmt.Errorf("open socket: %w", err)
		}
		defer unix.Close(fd)
		d.proto = "sctp"
		r.Flows, err = d.exchange(fd)
		return err
	})
}

// sctpService echoes messages of one-to-many SCTP.
type sctpService struct {
	*service
	fd    int
	flows map[netip.AddrPort]*report.Flow
}

func listenSCTP(sv *service) (running, error) {
	addr, err := netip.ParseAddrPort(sv.where)
	if err != nil {
		return nil, fmt.Errorf("parse address: %w", err)
	}
	fd, err := unix.Socket(family(addr.Addr()), unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(family(addr.Addr()), addr)); err != nil {
		return nil, errors.Join(fmt.Errorf("bind: %w", err), unix.Close(fd))
	}
	if err := unix.Listen(fd, 8); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), unix.Close(fd))
	}
	return &sctpService{service: sv, fd: fd, flows: make(map[netip.AddrPort]*report.Flow)}, nil
}

func (s *sctpService) Close() error { return unix.Close(s.fd) }

func (s *sctpService) serve(stop *atomic.Bool, b *books) {
	p := make([]byte, 64<<10)
	for readable(s.fd, stop) {
		n, _, _, sa, err := unix.Recvmsg(s.fd, p, nil, 0)
		if err != nil {
			b.add(fmt.Errorf("receive: %w", err))
			break
		}
		if n == 0 {
			continue // an association ended
		}
		from := addrPort(sa)
		f := s.flows[from]
		if f == nil {
			f = &report.Flow{Proto: "sctp", Family: familyName(family(from.Addr())), Direction: "in", LPort: s.addr.Port(),
				RAddr: from.Addr().String(), RPort: from.Port(), Result: "established|closed"}
			s.flows[from] = f
		}
		f.Received += uint64(n)
		if err := errors.Join(check(p[:n], fromClient, 0), unix.Sendto(s.fd, p[:n], 0, sa)); err != nil {
			b.add(fmt.Errorf("echo: %w", err))
			break
		}
		f.Sent += uint64(n)
	}
	listener := bound(s.service, s.fd)
	listener.Proto = "sctp"
	b.add(nil, listener)
	for _, f := range s.flows {
		b.add(nil, *f)
	}
}
