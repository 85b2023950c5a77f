package dns

import (
	"net/netip"
	"time"

	"snitch/monitor/event"
)

// claimKey names a connection as far as its claim goes: one unconnected UDP
// socket may speak QUIC with many peers.
type claimKey struct {
	cookie uint64
	addr   netip.Addr
	tcp    bool
}

// claim is the name in the ClientHello of a connection.
type claim struct {
	domain string
	ech    bool
	source event.NameSource
	at     time.Time
}

func keyOf(p *event.Payload) claimKey {
	return claimKey{p.Cookie, p.Remote.Addr(), p.Proto == event.ProtoTCP}
}

func (n *Names) claim(p *event.Payload, h hello, source event.NameSource) {
	k := keyOf(p)
	old, known := n.claims.get(k)
	if known && old.domain == h.name && old.ech == h.ech {
		return
	}
	if !known || old.domain != h.name {
		n.stats.Claims++
	}
	if _, evicted := n.claims.put(k, claim{h.name, h.ech, source, n.wall(p.Boot)}, n.now()); evicted {
		n.lost(1)
	}
	n.change(p.Cookie)
}

// tls reads the first bytes that a client sent over a TCP connection.
func (n *Names) tls(p event.Payload) {
	k := streamKey{p.Cookie, p.Kind}
	a, ok := n.streams.get(k)
	if !ok {
		if _, done := n.claims.get(keyOf(&p)); done {
			return
		}
		a = &assembler{}
	}
	if _, evicted := n.streams.put(k, a, n.now()); evicted {
		n.lost(1)
	}
	if !a.add(p.Seq, p.Data, int(p.Length)) {
		n.stats.StreamsBroken++
		n.streams.remove(k)
		return
	}
	h, state := hello{}, helloBad
	if handshake, ok := unwrapRecords(a.buf); ok {
		h, state = parseHello(handshake)
	}
	if h.name != "" {
		n.claim(&p, h, event.NameSNI)
	}
	switch state {
	case helloDone:
		n.stats.Hellos++
		n.streams.remove(k)
	case helloBad:
		n.stats.HellosBad++
		n.streams.remove(k)
	}
}
