package evasion

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sourceRoutes names hops in IPv4 options. The kernel sends to the first hop and
// keeps the address that the program named as the last.
func sourceRoutes(p *place) error {
	way := func(kind int, hop, to netip.AddrPort, option byte) func() error {
		return func() error {
			return with(unix.AF_INET, kind, 0, func(fd int) error {
				route := append([]byte{1, option, 7, 4}, hop.Addr().AsSlice()...)
				if err := unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, string(route)); err != nil {
					return fmt.Errorf("set route: %w", err)
				}
				return say(fd, to)
			})
		}
	}
	const loose, strict = 131, 137
	raw := func() error { // to a permitted address, and on from there
		b := ip4(p, append([]byte{1, loose, 7, 4}, p.V4.Addr().AsSlice()...), unix.IPPROTO_UDP, 0, udpPacket(p.V4.Port()))
		copy(b[16:], p.OpenV4.Addr().AsSlice())
		return sendRaw4(p.OpenV4.Addr(), b)
	}
	return each(way(unix.SOCK_DGRAM, p.V4, p.OpenV4, loose), way(unix.SOCK_DGRAM, p.V4, p.OpenV4, strict),
		way(unix.SOCK_DGRAM, p.OpenV4, p.V4, loose), raw, way(unix.SOCK_STREAM, p.V4, p.OpenV4, loose))
}

// routingHeaders sends to a permitted address and on from there.
func routingHeaders(p *place) error {
	raw := func(kind byte) func() error {
		return func() error {
			head := make([]byte, 24)
			head[0], head[1], head[2], head[3] = unix.IPPROTO_UDP, 2, kind, 1
			copy(head[8:], p.V6.Addr().AsSlice())
			b := ip6(p, unix.IPPROTO_ROUTING, append(head, udpPacket(p.V6.Port())...))
			copy(b[24:], p.OpenV6.Addr().AsSlice())
			return sendRaw6(p.OpenV6.Addr(), b)
		}
	}
	option := func() error {
		return datagram(p.V6, func(fd int) error {
			// the first segment is filled in by the kernel: where the program sends to
			segments := append([]byte{0, 4, 4, 1, 1, 0, 0, 0}, make([]byte, 16)...)
			segments = append(segments, p.V6.Addr().AsSlice()...)
			if err := unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_RTHDR, string(segments)); err != nil {
				return fmt.Errorf("set segments: %w", err)
			}
			return sendto(fd, 0, p.OpenV6)
		})
	}
	return each(raw(0), raw(2), raw(4), option)
}

// extensionHeaders hides a port behind headers.
func extensionHeaders(p *place) error {
	chain := func(headers ...byte) func() error {
		return func() error {
			body := udpPacket(p.V6.Port())
			next := byte(unix.IPPROTO_UDP)
			for i := len(headers) - 1; i >= 0; i-- {
				head := []byte{next, 0, 1, 4, 0, 0, 0, 0} // padding
				if headers[i] == unix.IPPROTO_FRAGMENT {
					head = fragment6(next, 0, false)
				}
				body, next = append(head, body...), headers[i]
			}
			return sendRaw6(p.V6.Addr(), ip6(p, next, body))
		}
	}
	const hop, dst, fragment = unix.IPPROTO_HOPOPTS, unix.IPPROTO_DSTOPTS, unix.IPPROTO_FRAGMENT
	option := func(level, name int) func() error {
		return func() error {
			return datagram(p.V6, func(fd int) error {
				if err := unix.SetsockoptString(fd, level, name, string([]byte{0, 0, 1, 4, 0, 0, 0, 0})); err != nil {
					return fmt.Errorf("set header: %w", err)
				}
				return say(fd, p.V6)
			})
		}
	}
	return each(chain(hop), chain(dst), chain(fragment), chain(hop, dst, fragment, dst), chain(dst, dst, dst, dst, dst, dst, dst, dst),
		option(unix.IPPROTO_IPV6, unix.IPV6_HOPOPTS), option(unix.IPPROTO_IPV6, unix.IPV6_DSTOPTS))
}
