package evasion

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// sources sends from where it does not come from.
func sources(p *place) error {
	elsewhere := netip.MustParseAddr("10.77.0.200")
	bound := func(from netip.Addr, options ...int) func() error {
		return func() error {
			return datagram(p.V4, func(fd int) error {
				for _, o := range options {
					if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, o, 1); err != nil {
						return err
					}
				}
				if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0))); err != nil {
					return fmt.Errorf("bind: %w", err)
				}
				return sendto(fd, 0, p.V4)
			})
		}
	}
	return each(bound(p.Source), bound(elsewhere, unix.IP_FREEBIND), bound(elsewhere, unix.IP_TRANSPARENT),
		func() error {
			return stream(p.V4, func(fd int) error {
				if err := unix.BindToDevice(fd, bpftest.LinkName); err != nil {
					return err
				}
				return say(fd, p.V4)
			})
		},
		func() error {
			return datagram(p.V4, func(fd int) error {
				from := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: p.Source.As4()})
				return unix.Sendmsg(fd, payload, from, sockaddr(p.V4), 0)
			})
		})
}

// marked has a route of its own for a mark.
func marked(p *place) error {
	const mark, table = 77, 77
	link, err := netlink.LinkByName(bpftest.LinkName)
	if err != nil {
		return err
	}
	rule := netlink.NewRule()
	rule.Mark, rule.Table, rule.Priority = mark, table, 77
	route := &netlink.Route{Table: table, LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: p.V4.Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}, Scope: netlink.SCOPE_LINK}
	if err := errors.Join(netlink.RouteReplace(route), netlink.RuleAdd(rule)); err != nil {
		return fmt.Errorf("route the mark: %w", err)
	}
	defer func() { _ = errors.Join(netlink.RuleDel(rule), netlink.RouteDel(route)) }()
	way := func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
			return err
		}
		return say(fd, p.V4)
	}
	return each(func() error { return stream(p.V4, way) }, func() error { return datagram(p.V4, way) })
}

// repair writes what no handshake agreed on.
func repair(p *place) error {
	return stream(p.V4, func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
			return err
		}
		if err := unix.Connect(fd, sockaddr(p.V4)); err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 0), write(fd))
	})
}

// reuse connects from the very address of a connection that was allowed, while
// it waits and after it ended.
func reuse(p *place) error {
	from := sockaddr(netip.AddrPortFrom(p.SourceV4, 34567))
	prepare := func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, from))
	}
	return stream(p.V4, func(first int) error {
		if err := prepare(first); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
		if err := say(first, p.OpenV4); err != nil {
			return errors.New(err.Error())
		}
		again := func() error {
			return stream(p.V4, func(fd int) error {
				if err := prepare(fd); err != nil {
					return fmt.Errorf("prepare: %w", err)
				}
				return say(fd, p.V4)
			})
		}
		return errors.Join(again(), unix.Shutdown(first, unix.SHUT_RDWR), again())
	})
}
