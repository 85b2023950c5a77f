package queue

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// message is what the kernel writes about a packet.
func message(data []byte) []byte {
	b := appendAttr(nil, attrHeader, 0, 0, 0, 9, 0x08, 0x00, 3)
	b = appendAttr(b, attrMark, be32(5)...)
	b = appendAttr(b, attrUID, be32(1000)...)
	b = appendAttr(b, attrCapLen, be32(1500)...)
	return appendAttr(b, attrPayload, data...)
}

var (
	syn4 = []byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x9c, 0x40, 1, 187}
	udp6 = append(append([]byte{0x60, 0, 0, 0, 0, 16, 0, 64}, make([]byte, 32)...), 17, 0, 0, 0, 0, 0, 0, 0, 0x9c, 0x40, 0, 53)
)

// TestParse reads what the kernel says of a packet, extension headers included.
func TestParse(t *testing.T) {
	p, err := parse(message(syn4))
	if err != nil {
		t.Fatal(err)
	}
	if p.id != 9 || p.Hook != 3 || p.Mark != 5 || p.UID != 1000 || !p.HasUID || p.Length != 1500 || p.Proto != unix.IPPROTO_TCP ||
		p.Source != netip.MustParseAddrPort("10.0.0.1:40000") || p.Target != netip.MustParseAddrPort("10.0.0.2:443") {
		t.Errorf("got %+v", p)
	}
	p, err = parse(message(udp6))
	if err != nil || p.Proto != unix.IPPROTO_UDP || p.Target != netip.MustParseAddrPort("[::]:53") {
		t.Errorf("behind a hop-by-hop header: got %+v, %v", p, err)
	}
	fragment := bytes.Clone(syn4)
	fragment[7] = 1
	if p, err = parse(message(fragment)); err != nil || p.Target.Port() != 0 {
		t.Errorf("the second fragment: got %+v, %v, want no port", p, err)
	}
	if _, err := parse(appendAttr(nil, attrMark, be32(1)...)); err == nil {
		t.Error("a packet without a number was taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(syn4))
	f.Add(message(udp6))
	f.Add([]byte{3, 0, 10, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err == nil && (len(p.Data) > len(b) || int(p.Length) < len(p.Data)) {
			t.Errorf("got %d bytes of a packet of %d in %d", len(p.Data), p.Length, len(b))
		}
	})
}
