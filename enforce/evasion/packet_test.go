package evasion

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	atRouted = "cgroup_skb/egress refuses packets that name hops"
	atCreate = "cgroup/sock_create gives the socket an owner; " + atEgress
)

// forbidPort forbids one port, wherever it is: the packet must be read.
const forbidPort = `
rules:
  - {id: forbidden, action: deny, process: {exe: "{attacker}"}, to: {port: 9090, proto: [udp, tcp]}}
`

// packetAttempts write packets, or parts of them, by themselves.
func packetAttempts() []attempt {
	return []attempt{
		{name: "raw-udp", does: "raw socket: UDP with headers of its own (`IP_HDRINCL`), IPv4 and IPv6", result: stopped, by: atCreate, short: true, act: func(p *place) error {
			return each(func() error { return sendRaw4(p.V4.Addr(), ip4(p, nil, unix.IPPROTO_UDP, 0, udpPacket(p.V4.Port()))) },
				func() error { return sendRaw6(p.V6.Addr(), ip6(p, unix.IPPROTO_UDP, udpPacket(p.V6.Port()))) })
		}},
		{name: "raw-tcp", does: "raw socket: a TCP segment with payload and no connection", result: stopped, by: atCreate, act: func(p *place) error {
			return each(func() error { return sendRaw4(p.V4.Addr(), ip4(p, nil, unix.IPPROTO_TCP, 0, tcpPacket(p.V4.Port()))) },
				func() error { return sendRaw6(p.V6.Addr(), ip6(p, unix.IPPROTO_TCP, tcpPacket(p.V6.Port()))) })
		}},
		{name: "raw-protocol", does: "raw socket: a protocol that nobody speaks (253)", result: stopped, by: atCreate, act: func(p *place) error {
			return both(p, func(to, _ netip.AddrPort) error {
				return with(familyOf(to), unix.SOCK_RAW, 253, func(fd int) error {
					return unix.Sendto(fd, payload, 0, sockaddr(netip.AddrPortFrom(to.Addr(), 0)))
				})
			})
		}},
		{name: "raw-two-protocols", does: "raw socket: a permitted UDP packet, then TCP to the same address and port", result: stopped,
			by:    atCreate,
			rules: "\nrules:\n  - {id: forbidden, action: deny, process: {exe: \"{attacker}\"}, to: {port: 9090, proto: tcp}}\n",
			act:   twoProtocols, between: func(r *run) { r.lab.forget() }},
		{name: "ping", does: "ICMP echo with payload: raw and ping sockets", result: stopped, by: atCreate, short: true, act: pings},
		{name: "source-route", does: "IPv4 source routes (`IP_OPTIONS`): by way of the forbidden address, and to it by way of another", result: stopped, by: atRouted, act: sourceRoutes, always: true},
		{name: "routing-header", does: "IPv6 routing headers: types 0, 2 and 4 (segments), raw and by `IPV6_RTHDR`", result: stopped, by: atRouted, act: routingHeaders, always: true},
		{name: "extension-headers", does: "IPv6 extension headers before a forbidden port: hop-by-hop, destination, fragment, eight of them", result: stopped,
			by: "cgroup_skb/egress reads up to six and refuses more", rules: forbidPort, act: extensionHeaders},
		{name: "fragments", does: "IPv4 and IPv6 fragments to a forbidden address, made by hand and by the kernel", result: stopped, by: atCreate, act: func(p *place) error {
			return each(func() error { return fragments4(p, p.V4) }, func() error { return fragments6(p, p.V6) },
				func() error { return large(p.V4) }, func() error { return large(p.V6) })
		}},
		{name: "fragments-of-port", does: "raw socket: fragments of a datagram to a forbidden port, the later ones without their first", result: stopped,
			by: "cgroup_skb/egress refuses later fragments of raw sockets, which name no port, where rules speak of ports", rules: forbidPort,
			act: func(p *place) error {
				return each(func() error { return fragments4(p, p.V4) }, func() error { return fragments6(p, p.V6) })
			}},
	}
}

func udpPacket(port uint16) []byte {
	b := make([]byte, 8, 8+payloadBytes)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], port)
	binary.BigEndian.PutUint16(b[4:], 8+payloadBytes)
	return append(b, payload...)
}

func tcpPacket(port uint16) []byte {
	b := make([]byte, 20, 20+payloadBytes)
	binary.BigEndian.PutUint16(b, 40000)
	binary.BigEndian.PutUint16(b[2:], port)
	b[12], b[13] = 5<<4, 0x18 // PSH, ACK
	return append(b, payload...)
}

// ip4 is a packet to the forbidden address; fragment is the field of flags and
// offset.
func ip4(p *place, options []byte, proto byte, fragment uint16, body []byte) []byte {
	b := make([]byte, 20, 60+len(body))
	b[0] = 4<<4 | byte(5+len(options)/4)
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(options)+len(body)))
	binary.BigEndian.PutUint16(b[4:], 0x7777)
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[8], b[9] = 64, proto
	copy(b[12:], p.SourceV4.AsSlice())
	copy(b[16:], p.V4.Addr().AsSlice())
	return append(append(b, options...), body...)
}

func ip6(p *place, next byte, body []byte) []byte {
	b := make([]byte, 40, 40+len(body))
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	b[6], b[7] = next, 64
	copy(b[8:], p.SourceV6.AsSlice())
	copy(b[24:], p.V6.Addr().AsSlice())
	return append(b, body...)
}

func sendRaw4(to netip.Addr, packets ...[]byte) error {
	return with(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW, func(fd int) error { return sendAll(fd, to, packets) })
}

func sendRaw6(to netip.Addr, packets ...[]byte) error {
	return with(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW, func(fd int) error { return sendAll(fd, to, packets) })
}

func sendAll(fd int, to netip.Addr, packets [][]byte) error {
	var errs []error
	for _, b := range packets {
		if err := unix.Sendto(fd, b, 0, sockaddr(netip.AddrPortFrom(to, 0))); err != nil {
			errs = append(errs, fmt.Errorf("send: %w", err))
		}
	}
	return errors.Join(errs...)
}

// twoProtocols has its first packet allowed.
func twoProtocols(p *place) error {
	return with(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW, func(fd int) error {
		first := sendAll(fd, p.V4.Addr(), [][]byte{ip4(p, nil, unix.IPPROTO_UDP, 0, udpPacket(p.V4.Port()))})
		if err := errors.Join(first, pause()); err != nil {
			return errors.New(err.Error())
		}
		return sendAll(fd, p.V4.Addr(), [][]byte{ip4(p, nil, unix.IPPROTO_TCP, 0, tcpPacket(p.V4.Port()))})
	})
}

func pings(p *place) error {
	echo4 := append([]byte{8, 0, 0, 0, 0, 1, 0, 1}, payload...)
	binary.BigEndian.PutUint16(echo4[2:], checksum(echo4))
	echo6 := append([]byte{128, 0, 0, 0, 0, 1, 0, 1}, payload...)
	send := func(family, kind, proto int, to netip.Addr, b []byte) func() error {
		return func() error {
			return with(family, kind, proto, func(fd int) error { return sendAll(fd, to, [][]byte{b}) })
		}
	}
	return each(send(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, p.V4.Addr(), echo4),
		send(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, p.V4.Addr(), echo4),
		send(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6, p.V6.Addr(), echo6),
		send(unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6, p.V6.Addr(), echo6))
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// large is cut into fragments by the kernel.
func large(to netip.AddrPort) error {
	return datagram(to, func(fd int) error { return unix.Sendto(fd, make([]byte, 8000), 0, sockaddr(to)) })
}

func fragments4(p *place, to netip.AddrPort) error {
	const more = 0x2000
	whole := udpPacket(to.Port())
	cut := 136 // both parts are longer than any packet without payload
	return sendRaw4(to.Addr(), ip4(p, nil, unix.IPPROTO_UDP, uint16(cut/8), whole[cut:]), ip4(p, nil, unix.IPPROTO_UDP, more, whole[:cut]))
}

func fragments6(p *place, to netip.AddrPort) error {
	whole := udpPacket(to.Port())
	cut := 136
	return sendRaw6(to.Addr(), ip6(p, unix.IPPROTO_FRAGMENT, append(fragment6(unix.IPPROTO_UDP, cut, false), whole[cut:]...)),
		ip6(p, unix.IPPROTO_FRAGMENT, append(fragment6(unix.IPPROTO_UDP, 0, true), whole[:cut]...)))
}

func fragment6(next byte, offset int, more bool) []byte {
	b := []byte{next, 0, byte(offset >> 8), byte(offset), 0, 0, 0x77, 0x77}
	if more {
		b[3] |= 1
	}
	return b
}
