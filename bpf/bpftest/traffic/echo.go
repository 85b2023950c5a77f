package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// datagramService echoes datagrams, or only counts them (option sink).
type datagramService struct {
	*service
	fd    int
	flows map[netip.AddrPort]*report.Flow
}

func listenDatagram(sv *service) (running, error) {
	fd, err := openSocket(family(sv.addr.Addr()), sv.proto)
	if err != nil {
		return nil, err
	}
	s := &datagramService{service: sv, fd: fd, flows: make(map[netip.AddrPort]*report.Flow)}
	if err := s.bind(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *datagramService) bind() error {
	if err := unix.Bind(s.fd, sockaddr(family(s.addr.Addr()), s.addr)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if s.option("gro", "") != "" {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
			return fmt.Errorf("set UDP_GRO: %w", err)
		}
	}
	group, err := netip.ParseAddr(s.option("join", ""))
	if err != nil {
		return nil // no group
	}
	on, err := netip.ParseAddr(s.option("on", ""))
	if err != nil {
		return fmt.Errorf("parse address of the link to join on: %w", err)
	}
	return unix.SetsockoptIPMreq(s.fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP,
		&unix.IPMreq{Multiaddr: group.As4(), Interface: on.As4()})
}

func (s *datagramService) Close() error { return unix.Close(s.fd) }

func (s *datagramService) serve(stop *atomic.Bool, b *books) {
	b.add(nil, bound(s.service, s.fd))
	p, oob := make([]byte, 64<<10), make([]byte, 256)
	for readable(s.fd, stop) {
		if err := s.one(p, oob); err != nil {
			b.add(err)
			break
		}
	}
	for _, f := range s.flows {
		b.add(nil, *f)
	}
}

func (s *datagramService) one(p, oob []byte) error {
	n, oobn, _, sa, err := unix.Recvmsg(s.fd, p, oob, 0)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	f := s.flow(addrPort(sa))
	f.Received += uint64(n)
	if s.option("gro", "") == "" { // else one call takes several
		f.Packets++
	}
	segment := segmentSize(oob[:oobn], n)
	for at := 0; at < n; at += segment {
		if err := check(p[at:min(n, at+segment)], fromClient, 0); err != nil {
			return err
		}
	}
	if s.option("sink", "") != "" {
		return nil
	}
	if err := unix.Sendto(s.fd, p[:n], 0, sa); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	f.Sent += uint64(n)
	f.Packets++
	return nil
}

// bound is the flow of a datagram socket that waits on a port of its own.
func bound(s *service, fd int) report.Flow {
	return report.Flow{Proto: s.proto, Family: familyName(family(s.addr.Addr())), Direction: "listen", NetNS: socketNamespace(fd),
		LAddr: s.addr.Addr().String(), LPort: s.addr.Port(), Result: "listening|closed"}
}

func (s *datagramService) flow(from netip.AddrPort) *report.Flow {
	f := s.flows[from]
	if f == nil {
		f = &report.Flow{Proto: s.proto, Family: familyName(family(from.Addr())), Direction: "in", LPort: s.addr.Port(),
			RAddr: from.Addr().String(), RPort: from.Port(), NetNS: socketNamespace(s.fd), Result: "established|closed"}
		if !s.addr.Addr().IsUnspecified() {
			f.LAddr = s.addr.Addr().String()
		}
		s.flows[from] = f
	}
	return f
}

// segmentSize is the size of the datagrams that UDP_GRO joined in one read of
// n bytes.
func segmentSize(oob []byte, n int) int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_UDP && m.Header.Type == unix.UDP_GRO && len(m.Data) >= 2 {
				return max(1, int(binary.NativeEndian.Uint16(m.Data)))
			}
		}
	}
	return max(1, n)
}
