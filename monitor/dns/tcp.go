package dns

import (
	"encoding/binary"

	"snitch/monitor/event"
)

const headerLen = 12 // of a DNS message

// streamKey names one direction of one TCP connection.
type streamKey struct {
	cookie uint64
	kind   event.PayloadKind
}

// message hands over the next DNS message of a TCP stream (RFC 1035 §4.2.2) and
// what to consume for it; ok is false when more bytes are needed. cut says that
// the end of the message was not captured.
func (a *assembler) message() (msg []byte, next int, cut, ok bool) {
	if len(a.buf) < 2 {
		return nil, 0, false, false
	}
	n := 2 + int(binary.BigEndian.Uint16(a.buf))
	if len(a.buf) >= n {
		return a.buf[2:n], n, false, true
	}
	if a.missing > 0 && len(a.buf) >= 2+headerLen {
		return a.buf[2:], n, true, true
	}
	return nil, 0, false, false
}

// tcp reassembles one direction of DNS over TCP and hands the messages to
// handle, which reports whether the message made sense. Where a stream is joined
// in the middle, the first message that does gives the boundaries; until then
// what makes no sense is thrown away.
func (n *Names) tcp(p event.Payload, handle func(p event.Payload, msg []byte, cut bool) bool) {
	k := streamKey{p.Cookie, p.Kind}
	a, ok := n.streams.get(k)
	if !ok {
		a = &assembler{}
	}
	if _, evicted := n.streams.put(k, a, n.now()); evicted {
		n.lost(1)
	}
	if !a.add(p.Seq, p.Data, int(p.Length)) {
		n.stats.StreamsBroken++
		*a = assembler{}
		a.add(p.Seq, p.Data, int(p.Length))
	}
	for {
		msg, next, cut, ok := a.message()
		if !ok {
			break
		}
		if handle(p, msg, cut) || a.synced {
			a.consume(next)
			continue
		}
		a.consume(len(a.buf)) // no boundary here
		a.synced = false
	}
	if len(a.buf) == 0 && len(a.early) == 0 && !a.synced {
		n.streams.remove(k)
	}
}
