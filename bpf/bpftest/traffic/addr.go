package main

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sockaddr makes a socket address of family: IPv4 becomes v4-mapped on an IPv6
// socket.
func sockaddr(family int, a netip.AddrPort) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func local(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// familyName is event.FamilyName for the families of IP.
func familyName(f int) string {
	if f == unix.AF_INET {
		return "ipv4"
	}
	return "ipv6"
}

// protocols names transport protocols as flags and log do.
var protocols = map[string]struct{ typ, proto int }{
	"tcp":     {unix.SOCK_STREAM, unix.IPPROTO_TCP},
	"mptcp":   {unix.SOCK_STREAM, unix.IPPROTO_MPTCP},
	"sctp":    {unix.SOCK_STREAM, unix.IPPROTO_SCTP},
	"udp":     {unix.SOCK_DGRAM, unix.IPPROTO_UDP},
	"udplite": {unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE},
}

func openSocket(fam int, proto string) (int, error) {
	p, ok := protocols[proto]
	if !ok {
		return -1, fmt.Errorf("unknown protocol %q", proto)
	}
	fd, err := unix.Socket(fam, p.typ|unix.SOCK_CLOEXEC, p.proto)
	if err != nil {
		return -1, fmt.Errorf("open %s socket: %w", proto, err)
	}
	return fd, nil
}

func parseAddr(s string) (netip.AddrPort, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return a, fmt.Errorf("parse address: %w", err)
	}
	return a, nil
}
