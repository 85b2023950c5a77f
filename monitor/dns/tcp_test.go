package dns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"snitch/monitor/event"
)

// TestAssembler: segments in any order, twice, overlapping, give the stream.
func TestAssembler(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := make([]byte, rapid.IntRange(1, 2000).Draw(t, "length"))
		for i := range stream {
			stream[i] = byte(i * 7)
		}
		start := rapid.Uint32().Draw(t, "start")
		var segments []segment
		for off := 0; off < len(stream); {
			n := rapid.IntRange(1, 200).Draw(t, "segment")
			from := max(0, off-rapid.IntRange(0, 20).Draw(t, "overlap"))
			to := min(len(stream), off+n)
			segments = append(segments, segment{pos: start + uint32(from), data: stream[from:to]})
			off = to
		}
		segments = append(segments, segments[:len(segments)/2]...)
		segments = rapid.Permutation(segments).Draw(t, "order")
		var a assembler
		for _, s := range segments {
			if len(a.early) >= maxEarly || a.held+len(s.data) > maxStream {
				t.Skip("rapid: beyond the bounds")
			}
			if !a.add(s.pos, s.data, len(s.data)) {
				t.Fatalf("segment at %d refused", s.pos-start)
			}
		}
		if a.base != start || !bytes.Equal(a.buf, stream) || len(a.early) != 0 || a.held != 0 {
			t.Fatalf("got %d bytes from %d, %d early (%d bytes), want %d from 0",
				len(a.buf), a.base-start, len(a.early), a.held, len(stream))
		}
	})
}

func TestAssemblerIsBounded(t *testing.T) {
	var a assembler
	a.add(0, []byte{1}, 1)
	for i := range uint32(1 << 20) {
		if !a.add(2+2*i, make([]byte, 1000), 1000) {
			break
		}
	}
	if len(a.early) > maxEarly || a.held > maxStream || len(a.buf) > maxStream {
		t.Errorf("got %d early, %d bytes held, %d in order", len(a.early), a.held, len(a.buf))
	}
	if a.add(maxStream+1, []byte{1}, 1) {
		t.Error("a segment far beyond the hole was taken")
	}
}

// conversation is DNS over TCP between alice and the resolver.
type conversation struct {
	*book
	x       exchange
	out, in uint32 // next sequence numbers
}

func newConversation(t *testing.T) *conversation {
	return &conversation{book: newBook(t), x: ask(alice), out: 0xfffffff0, in: 0xffffffd0}
}

func (c *conversation) send(kind event.PayloadKind, seq uint32, data []byte) {
	p := c.x.payload(kind, data)
	p.Proto, p.Seq = event.ProtoTCP, seq
	c.Payload(p)
}

func (c *conversation) query(id uint16, name string) {
	data := framed(queryMsg(c.t, id, name, typeA))
	c.send(event.PayloadDNSQuery, c.out, data)
	c.out += uint32(len(data))
}

func reply(t *testing.T, id uint16, name string, addrs ...netip.Addr) []byte {
	var rrs []rr
	for _, a := range addrs {
		rrs = append(rrs, addrRR(name, a, 60))
	}
	return answerMsg(t, id, name, typeA, rrs...)
}

func TestDNSOverTCP(t *testing.T) {
	second := netip.MustParseAddr("203.0.113.11")
	answers := framed(reply(t, 1, "one.example", web), reply(t, 2, "two.example", second))
	type piece struct{ from, to int }
	whole := len(answers)
	cases := map[string][]piece{
		"both in one segment":    {{0, whole}},
		"length prefix apart":    {{0, 1}, {1, 2}, {2, whole}},
		"split in the middle":    {{0, 30}, {30, 60}, {60, whole}},
		"out of order":           {{0, 10}, {50, whole}, {10, 50}},
		"first segment last":     {{20, 40}, {40, whole}, {0, 20}},
		"retransmitted":          {{0, 30}, {0, 30}, {30, whole}, {30, whole}, {0, whole}},
		"overlap":                {{0, 40}, {20, 60}, {10, whole}},
		"old segment again last": {{0, whole}, {0, 20}},
	}
	for i := range whole {
		cases["bytes"] = append(cases["bytes"], piece{i, i + 1})
	}
	for name, pieces := range cases {
		t.Run(name, func(t *testing.T) {
			c := newConversation(t)
			c.query(1, "one.example")
			c.query(2, "two.example")
			for _, p := range pieces {
				c.send(event.PayloadDNSAnswer, c.in+uint32(p.from), answers[p.from:p.to])
			}
			c.want(alice, web, "one.example", event.NameDNS)
			c.want(alice, second, "two.example", event.NameDNS)
			if s := c.Stats(); s.Paired != 2 || s.Pending != 0 {
				t.Errorf("got %d paired, %d pending, want 2, 0", s.Paired, s.Pending)
			}
		})
	}
}

func TestQueriesOverTCPSplitAnywhere(t *testing.T) {
	queries := framed(queryMsg(t, 1, "one.example", typeA), queryMsg(t, 2, "two.example", typeA))
	for at := 1; at < len(queries); at++ {
		c := newConversation(t)
		c.send(event.PayloadDNSQuery, 0, queries[:at])
		c.send(event.PayloadDNSQuery, uint32(at), queries[at:])
		if got := c.Stats().Queries; got != 2 {
			t.Errorf("split at %d: got %d queries, want 2", at, got)
		}
	}
}

func TestTCPAndUDPDoNotPair(t *testing.T) {
	c := newConversation(t)
	c.query(1, "one.example")
	c.Payload(c.x.payload(event.PayloadDNSAnswer, reply(t, 1, "one.example", web)))
	c.want(alice, web, "", event.NameNone)
}

// TestMessageLongerThanTheCapture: 4 KiB of a longer answer were captured; the
// next answer, in its own segment, is read.
func TestMessageLongerThanTheCapture(t *testing.T) {
	second := netip.MustParseAddr("203.0.113.11")
	var addrs []netip.Addr
	for i := range 300 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}))
	}
	long := framed(reply(t, 1, "long.example", addrs...))
	if len(long) <= maxPayload {
		t.Fatalf("answer is %d bytes", len(long))
	}
	c := newConversation(t)
	c.query(1, "long.example")
	c.query(2, "two.example")
	p := c.x.payload(event.PayloadDNSAnswer, long[:maxPayload])
	p.Proto, p.Seq, p.Length = event.ProtoTCP, c.in, uint32(len(long))
	c.Payload(p)
	c.send(event.PayloadDNSAnswer, c.in+uint32(len(long)), framed(reply(t, 2, "two.example", second)))
	c.want(alice, addrs[0], "long.example", event.NameDNS)
	c.want(alice, addrs[299], "", event.NameNone)
	c.want(alice, second, "two.example", event.NameDNS)
	if got := c.Stats().Partial; got != 1 {
		t.Errorf("partial: got %d, want 1", got)
	}
}

func TestCaptureCutBetweenMessages(t *testing.T) {
	second := netip.MustParseAddr("203.0.113.11")
	c := newConversation(t)
	c.query(1, "one.example")
	c.query(2, "two.example")
	one := framed(reply(t, 1, "one.example", web))
	p := c.x.payload(event.PayloadDNSAnswer, one)
	p.Proto, p.Seq, p.Length = event.ProtoTCP, c.in, uint32(len(one)+500) // 500 bytes of others were not captured
	c.Payload(p)
	c.send(event.PayloadDNSAnswer, c.in+uint32(len(one)+500), framed(reply(t, 2, "two.example", second)))
	c.want(alice, web, "one.example", event.NameDNS)
	c.want(alice, second, "two.example", event.NameDNS)
}

// TestStreamJoinedInTheMiddle: what cannot be read is stepped over.
func TestStreamJoinedInTheMiddle(t *testing.T) {
	c := newConversation(t)
	old := framed(reply(t, 9, "old.example", web))
	c.send(event.PayloadDNSAnswer, c.in, old[len(old)-20:])
	c.in += 20
	c.query(1, "one.example")
	for i := range uint32(40) { // later answers, until one stands at the start of a readable segment
		c.query(uint16(100+i), "more.example")
		data := framed(reply(t, uint16(100+i), "more.example", web))
		c.send(event.PayloadDNSAnswer, c.in, data)
		c.in += uint32(len(data))
	}
	c.want(alice, web, "more.example", event.NameDNS)
}

// TestUnpairedAnswerKeepsTheBoundaries: once they are known, an answer that
// nobody asked for is stepped over alone.
func TestUnpairedAnswerKeepsTheBoundaries(t *testing.T) {
	c := newConversation(t)
	c.query(1, "one.example")
	c.query(2, "two.example")
	second := netip.MustParseAddr("203.0.113.11")
	c.send(event.PayloadDNSAnswer, c.in, framed(reply(t, 1, "one.example", web), reply(t, 9, "rogue.example", web), reply(t, 2, "two.example", second)))
	c.want(alice, second, "two.example", event.NameDNS)
	if got := c.Stats().Unpaired; got != 1 {
		t.Errorf("unpaired: got %d, want 1", got)
	}
}

func TestTCPStreamsAreBounded(t *testing.T) {
	b := newBook(t, func(l *limits) { l.streams = 8 })
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 5000 {
		x := ask(alice)
		x.cookie = uint64(r.IntN(50))
		data := binary.BigEndian.AppendUint16(nil, 0xffff)
		data = append(data, make([]byte, r.IntN(4000))...)
		p := x.payload(event.PayloadDNSAnswer, data)
		p.Proto, p.Seq = event.ProtoTCP, uint32(r.IntN(1<<15))
		p.Length += uint32(r.IntN(2) * 1000 * (i % 3))
		b.Payload(p)
	}
	if got := b.streams.len(); got > 8 {
		t.Errorf("streams: got %d, want at most 8", got)
	}
	for i := b.streams.root.next; i != &b.streams.root; i = i.next {
		if a := i.value; len(a.buf) > maxStream || a.held > maxStream || len(a.early) > maxEarly {
			t.Errorf("stream holds %d, %d early in %d", len(a.buf), a.held, len(a.early))
		}
	}
}

func BenchmarkDNSExchangeUDP(b *testing.B) {
	n, err := New(Config{NetNS: hostNS}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	x := ask(alice)
	q := x.payload(event.PayloadDNSQuery, queryMsg(b, 7, "www.example.com", typeA))
	a := x.payload(event.PayloadDNSAnswer, answerMsg(b, 7, "www.example.com", typeA, cnameRR("www.example.com", "cdn.example.net", 60),
		addrRR("cdn.example.net", web, 60), addrRR("cdn.example.net", web.Next(), 60)))
	b.ReportAllocs()
	for b.Loop() {
		n.Payload(q)
		n.Payload(a)
	}
}

func BenchmarkDNSExchangeTCP(b *testing.B) {
	n, err := New(Config{NetNS: hostNS}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	x := ask(alice)
	q := x.payload(event.PayloadDNSQuery, framed(queryMsg(b, 7, "www.example.com", typeA)))
	a := x.payload(event.PayloadDNSAnswer, framed(answerMsg(b, 7, "www.example.com", typeA, addrRR("www.example.com", web, 60))))
	q.Proto, a.Proto = event.ProtoTCP, event.ProtoTCP
	for b.Loop() {
		n.Payload(q)
		n.Payload(a)
		q.Seq += q.Length
		a.Seq += a.Length
	}
}

func BenchmarkLookup(b *testing.B) {
	n, err := New(Config{NetNS: hostNS}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	x := ask(alice)
	for i := range 8 {
		qname := fmt.Sprintf("n%d.example", i)
		n.Payload(x.payload(event.PayloadDNSQuery, queryMsg(b, 7, qname, typeA)))
		n.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(b, 7, qname, typeA, addrRR(qname, web, 60))))
	}
	at := n.now()
	for b.Loop() {
		if n.Lookup(alice, 1, event.ProtoTCP, web, at).Domain != "n7.example" {
			b.Fatal("wrong name")
		}
	}
}

// TestCacheOrder: the oldest goes first, a touch makes young.
func TestCacheOrder(t *testing.T) {
	now := newBook(t).clock
	c := newCache[int, string](3)
	for i := range 3 {
		c.put(i, fmt.Sprint(i), now.Add(seconds(uint32(i))))
	}
	c.touch(0, now.Add(seconds(3)))
	if old, evicted := c.put(3, "3", now.Add(seconds(4))); !evicted || old != "1" {
		t.Errorf("pushed out: got %q, %v, want 1", old, evicted)
	}
	var dropped []int
	c.expire(now.Add(seconds(4)), func(k int, _ string) { dropped = append(dropped, k) })
	if !slices.Equal(dropped, []int{2, 0}) || c.len() != 1 {
		t.Errorf("expired: got %v and %d left, want [2 0] and 1", dropped, c.len())
	}
}
