package queue

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Packet is one held packet. It is immutable.
type Packet struct {
	Hook   uint8  // NF_INET_*
	Mark   uint32 // of the packet
	UID    uint32 // who owns its socket, if HasUID
	HasUID bool
	Length uint32 // bytes of the whole packet
	Data   []byte // from the network header on, cut at Config.CopyRange

	// Read from Data: zero where it does not show them.
	Proto          uint8 // IPPROTO_*
	Source, Target netip.AddrPort

	id uint32
}

// maxHeaders bounds the extension headers of IPv6 that are walked.
const maxHeaders = 8

// addresses fills Proto, Source and Target as far as Data is long enough.
func (p *Packet) addresses() {
	b := p.Data
	if len(b) == 0 {
		return
	}
	switch b[0] >> 4 {
	case 4:
		p.ipv4(b)
	case 6:
		p.ipv6(b)
	}
}

func (p *Packet) ipv4(b []byte) {
	header := int(b[0]&15) * 4
	if header < 20 || len(b) < 20 {
		return
	}
	p.Proto = b[9]
	src, dst := netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	if first := binary.BigEndian.Uint16(b[6:])&0x1fff == 0; !first || header > len(b) {
		b = nil
	} else {
		b = b[header:]
	}
	p.ports(src, dst, b)
}

func (p *Packet) ipv6(b []byte) {
	if len(b) < 40 {
		return
	}
	src, dst := netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	next := b[6]
	b = b[40:]
	for range maxHeaders {
		size := 0
		switch next {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
			if len(b) >= 8 {
				size = 8 + int(b[1])*8
			}
		case unix.IPPROTO_FRAGMENT:
			if len(b) >= 8 && binary.BigEndian.Uint16(b[2:])&^7 == 0 {
				size = 8
			}
		default:
			p.Proto = next
			p.ports(src, dst, b)
			return
		}
		if size == 0 || size > len(b) {
			break
		}
		next, b = b[0], b[size:]
	}
	p.ports(src, dst, nil)
}

// ports reads the first bytes of a transport header, as far as they are there.
func (p *Packet) ports(src, dst netip.Addr, b []byte) {
	var from, to uint16
	switch p.Proto {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP:
		if len(b) >= 4 {
			from, to = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		}
	}
	p.Source, p.Target = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
}
