package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

func rawGenerators() []generator {
	return []generator{
		{"ping", "ICMP echo by a ping socket or a raw socket", runPing},
		{"raw", "raw IP datagrams of any protocol, each echoed", runRaw},
		{"packet", "frames by AF_PACKET: raw, dgram or a send ring", runPacket},
		{"xdp", "an AF_XDP socket bound to a queue", runXDP},
		{"vsock", "AF_VSOCK to the machine itself, or a socket without a peer", runVsock},
		{"sctp-many", "SCTP one-to-many, each message echoed", runSCTPMany},
	}
}

const ipv4Header = 20

const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
	icmp6Filter              = 1 // ICMPV6_FILTER
)

// runPing sends echo requests. A raw IPv4 socket reads the IP header too, and
// that is what its read returns.
func runPing(args []string) error {
	f := flags("ping")
	var to netip.Addr
	f.TextVar(&to, "to", netip.Addr{}, "address")
	raw := f.Bool("raw", false, "use a raw socket")
	count := f.Int("count", 10, "requests")
	size := f.Int("size", 56, "bytes behind the ICMP header of the first; each is one longer")
	return reported("ping", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		flow, err := ping(to, *raw, *count, *size)
		r.Flows = append(r.Flows, flow)
		return err
	})
}

func ping(to netip.Addr, raw bool, count, size int) (report.Flow, error) {
	proto, name, request, reply := unix.IPPROTO_ICMP, "icmp", echoRequest4, echoReply4
	if to.Is6() {
		proto, name, request, reply = unix.IPPROTO_ICMPV6, "icmpv6", echoRequest6, echoReply6
	}
	flow := report.Flow{Proto: name, Family: familyName(family(to)), Direction: "out", RAddr: to.String(), Result: "established|closed"}
	typ := unix.SOCK_DGRAM
	if raw {
		typ = unix.SOCK_RAW
	}
	fd, err := unix.Socket(family(to), typ|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return flow, fmt.Errorf("open %s socket: %w", name, err)
	}
	defer unix.Close(fd)
	if raw {
		if err := onlyReplies(fd, to); err != nil {
			return flow, err
		}
	}
	flow.NetNS = socketNamespace(fd)
	for i := range count {
		if err := pingOnce(fd, to, byte(request), byte(reply), raw && to.Is4(), size+i, uint16(i), &flow); err != nil {
			return flow, err
		}
	}
	return flow, nil
}

// onlyReplies keeps everything but echo replies out of a raw socket, which
// otherwise reads all ICMP of its namespace.
func onlyReplies(fd int, to netip.Addr) error {
	if to.Is6() {
		filter := unix.ICMPv6Filter{}
		for i := range filter.Data {
			filter.Data[i] = ^uint32(0)
		}
		filter.Data[echoReply6>>5] &^= 1 << (echoReply6 & 31)
		return unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, icmp6Filter, &filter)
	}
	const solRaw, icmpFilter = 255, 1
	block := ^(uint32(1) << echoReply4)
	b := binary.NativeEndian.AppendUint32(nil, block)
	return unix.SetsockoptString(fd, solRaw, icmpFilter, string(b))
}

func pingOnce(fd int, to netip.Addr, request, reply byte, header bool, size int, seq uint16, flow *report.Flow) error {
	p := make([]byte, 8+size)
	fill(p[8:], fromClient, 0)
	p[0] = request
	binary.BigEndian.PutUint16(p[6:], seq)
	if to.Is4() {
		binary.BigEndian.PutUint16(p[2:], checksum(p))
	}
	if err := unix.Sendto(fd, p, 0, sockaddr(family(to), netip.AddrPortFrom(to, 0))); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	flow.Sent += uint64(len(p))
	in := make([]byte, 64<<10)
	n, from, err := unix.Recvfrom(fd, in, 0)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	flow.Received += uint64(n)
	in = in[:n]
	if header {
		in = in[min(n, ipv4Header):]
	}
	if len(in) != len(p) || in[0] != reply || addrPort(from).Addr() != to {
		return fmt.Errorf("answer of %d bytes and type %d from %s, want %d, %d, %s", len(in), in[0], addrPort(from).Addr(), len(p), reply, to)
	}
	return check(in[8:], fromClient, 0)
}

// checksum is that of RFC 1071.
func checksum(p []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(p); i += 2 {
		sum += uint32(p[i])<<8 | uint32(p[i+1])
	}
	if len(p)%2 == 1 {
		sum += uint32(p[len(p)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func runRaw(args []string) error {
	f := flags("raw")
	var to netip.Addr
	f.TextVar(&to, "to", netip.Addr{}, "address")
	proto := f.Int("ipproto", 253, "IP protocol")
	count := f.Int("count", 10, "datagrams")
	return reported("raw", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		flow, err := rawExchange(to, *proto, *count)
		r.Flows = append(r.Flows, flow)
		return err
	})
}

func rawExchange(to netip.Addr, proto, count int) (report.Flow, error) {
	flow := report.Flow{Proto: "ip-" + strconv.Itoa(proto), Family: familyName(family(to)), Direction: "out", RAddr: to.String(), Result: "established|closed"}
	fd, err := unix.Socket(family(to), unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return flow, fmt.Errorf("open raw socket: %w", err)
	}
	defer unix.Close(fd)
	flow.NetNS = socketNamespace(fd)
	p := make([]byte, 2048)
	for i := range count {
		n := 200 + i
		fill(p[:n], fromClient, 0)
		if err := unix.Sendto(fd, p[:n], 0, sockaddr(family(to), netip.AddrPortFrom(to, 0))); err != nil {
			return flow, fmt.Errorf("send: %w", err)
		}
		flow.Sent += uint64(n)
		m, _, err := unix.Recvfrom(fd, p, 0)
		if err != nil {
			return flow, fmt.Errorf("receive: %w", err)
		}
		flow.Received += uint64(m)
		if err := check(payload(to, p[:m]), fromClient, 0); err != nil || len(payload(to, p[:m])) != n {
			return flow, errors.Join(err, fmt.Errorf("echo of %d bytes, want %d", m, n))
		}
	}
	return flow, nil
}

// payload cuts off the header that a raw IPv4 socket reads.
func payload(peer netip.Addr, p []byte) []byte {
	if peer.Is4() {
		return p[min(len(p), ipv4Header):]
	}
	return p
}

// rawService echoes raw IP datagrams: `raw ADDRESS ipproto=N`.
type rawService struct {
	*service
	fd    int
	at    netip.Addr
	proto int
	flows map[netip.Addr]*report.Flow
}

func listenRaw(sv *service) (running, error) {
	at, err := netip.ParseAddr(sv.where)
	if err != nil {
		return nil, fmt.Errorf("parse address: %w", err)
	}
	proto, err := strconv.Atoi(sv.option("ipproto", "253"))
	if err != nil {
		return nil, fmt.Errorf("parse protocol: %w", err)
	}
	fd, err := unix.Socket(family(at), unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("open raw socket: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(family(at), netip.AddrPortFrom(at, 0))); err != nil {
		return nil, errors.Join(fmt.Errorf("bind: %w", err), unix.Close(fd))
	}
	return &rawService{service: sv, fd: fd, at: at, proto: proto, flows: make(map[netip.Addr]*report.Flow)}, nil
}

func (s *rawService) Close() error { return unix.Close(s.fd) }

func (s *rawService) serve(stop *atomic.Bool, b *books) {
	p := make([]byte, 64<<10)
	for readable(s.fd, stop) {
		n, sa, err := unix.Recvfrom(s.fd, p, 0)
		if err != nil {
			b.add(fmt.Errorf("receive: %w", err))
			break
		}
		from := addrPort(sa).Addr()
		f := s.flows[from]
		if f == nil {
			f = &report.Flow{Proto: "ip-" + strconv.Itoa(s.proto), Family: familyName(family(s.at)), Direction: "in",
				RAddr: from.String(), NetNS: socketNamespace(s.fd), Result: "established|closed"}
			s.flows[from] = f
		}
		f.Received += uint64(n)
		body := payload(s.at, p[:n])
		if err := errors.Join(check(body, fromClient, 0), unix.Sendto(s.fd, body, 0, sa)); err != nil {
			b.add(fmt.Errorf("echo: %w", err))
			break
		}
		f.Sent += uint64(len(body))
	}
	for _, f := range s.flows {
		b.add(nil, *f)
	}
}
