package dns

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"

	"snitch/monitor/event"
)

const (
	maxPackets   = 16 // coalesced packets of one capture that are read
	maxQUICConns = 4  // connections between one socket and one peer
)

// Frames that an Initial may carry (RFC 9000 §12.4).
const (
	framePadding = 0x00
	framePing    = 0x01
	frameACK     = 0x02
	frameACKECN  = 0x03
	frameCrypto  = 0x06
)

// quicKey names the datagrams between a socket and a peer.
type quicKey struct {
	cookie uint64
	remote netip.AddrPort
}

// quicConn is one connection in its first flight.
type quicConn struct {
	version uint32
	dcid    []byte
	keys    *initialKeys
	crypto  assembler
	done    bool // the hello was read or is none
}

// quic reads the first datagrams of a UDP flow. Segmentation offload lets
// several of them arrive as one capture, which reads as coalesced packets.
func (n *Names) quic(p event.Payload) {
	data := p.Data
	for range maxPackets {
		// A datagram may be filled up with zeros behind its last packet.
		if data = bytes.TrimLeft(data, "\x00"); len(data) == 0 {
			return
		}
		packet, rest, err := nextPacket(data)
		switch {
		case err == nil:
			n.stats.Initials++
			n.initial(&p, packet)
		case !errors.Is(err, errNotInitial):
			return
		}
		data = rest
	}
}

func (n *Names) initial(p *event.Payload, packet initialPacket) {
	k := quicKey{p.Cookie, p.Remote}
	conns, _ := n.quics.get(k)
	conn, frames := n.openInitial(conns, packet)
	if conn == nil {
		n.stats.InitialsSealed++
		return
	}
	if !slices.Contains(conns, conn) {
		if len(conns) >= maxQUICConns {
			conns = conns[1:]
		}
		conns = append(conns, conn)
	}
	if _, evicted := n.quics.put(k, conns, n.now()); evicted {
		n.lost(1)
	}
	if conn.done {
		return
	}
	if !conn.addFrames(frames) {
		n.stats.HellosBad++
		conn.finish()
		return
	}
	h, state := parseHello(conn.crypto.buf)
	if h.name != "" {
		n.claim(p, h, event.NameQUIC)
	}
	switch state {
	case helloDone:
		n.stats.Hellos++
		conn.finish()
	case helloBad:
		n.stats.HellosBad++
		conn.finish()
	}
}

// openInitial finds the connection whose keys open the packet, or makes one.
// The keys follow from the first connection id that the client chose and stay
// when the server gives another; only a Retry makes new ones.
func (n *Names) openInitial(conns []*quicConn, packet initialPacket) (*quicConn, []byte) {
	fresh := true
	for i := len(conns) - 1; i >= 0; i-- {
		c := conns[i]
		if c.version == packet.version && bytes.Equal(c.dcid, packet.dcid) {
			fresh = false
		}
		if frames, ok := c.keys.open(packet, n.scratch[:]); ok {
			return c, frames
		}
	}
	if !fresh {
		return nil, nil
	}
	keys, err := newInitialKeys(packet.version, packet.dcid)
	if err != nil {
		return nil, nil
	}
	frames, ok := keys.open(packet, n.scratch[:])
	if !ok {
		return nil, nil
	}
	c := &quicConn{version: packet.version, dcid: bytes.Clone(packet.dcid), keys: keys}
	c.crypto.started, c.crypto.synced = true, true // offsets begin at 0
	return c, frames
}

// finish keeps the keys, so that later packets are known, and frees the rest.
func (c *quicConn) finish() { c.done, c.crypto = true, assembler{} }

// addFrames collects the CRYPTO frames; false means that the hello cannot be
// read any more. Clients split and shuffle them on purpose.
func (c *quicConn) addFrames(frames []byte) bool {
	r := reader(frames)
	for len(r) > 0 {
		switch r.varint() {
		case framePadding, framePing:
		case frameACK:
			r.skipACK(false)
		case frameACKECN:
			r.skipACK(true)
		case frameCrypto:
			off := r.varint()
			data := r.bytes(r.length())
			if r == nil {
				return false
			}
			if off > maxStream || !c.crypto.add(uint32(off), data, len(data)) {
				return false
			}
		default: // a close, or no frame of an Initial
			return true
		}
	}
	return true
}

func (r *reader) skipACK(ecn bool) {
	r.varint() // largest
	r.varint() // delay
	ranges := r.length()
	fields := 1 + 2*ranges
	if ecn {
		fields += 3
	}
	for range fields {
		r.varint()
	}
}
