package dns

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"snitch/monitor/event"
)

// fuzzNames is a Names with small tables, so that the bounds are met.
func fuzzNames(t testing.TB) *Names {
	t.Helper()
	l := limits{names: 2, processAddrs: 4, hostAddrs: 4, addrs: 6, scopes: 4, nodes: 4, pending: 4, processPending: 3,
		streams: 3, quics: 2, claims: 3, watched: 2, watchers: 2, changed: 3, reverse: 2}
	n, err := newNames(Config{NetNS: hostNS, HostsFile: "/dev/null", ResolvConf: "/dev/null", ResolvedConf: "/dev/null"},
		Deps{Now: func() time.Time { return time.Unix(1e9, 0) }}, l)
	if err != nil {
		t.Fatal(err)
	}
	n.resolvers.addAddr(resolver.Addr())
	return n
}

// checkNames fails when n holds a name that is no host name, or too much.
func checkNames(t *testing.T, n *Names) {
	t.Helper()
	addrs := 0
	for s := n.table.scopes.root.next; s != &n.table.scopes.root; s = s.next {
		for a := s.value.root.next; a != &s.value.root; a = a.next {
			addrs++
			for _, f := range a.value {
				checkName(t, f.domain)
			}
		}
	}
	for c := n.claims.root.next; c != &n.claims.root; c = c.next {
		checkName(t, c.value.domain)
	}
	for s := n.streams.root.next; s != &n.streams.root; s = s.next {
		if a := s.value; len(a.buf) > maxStream || a.held > maxStream || len(a.early) > maxEarly || a.held < 0 {
			t.Fatalf("stream out of bounds: %d bytes, %d early, %d held", len(a.buf), len(a.early), a.held)
		}
	}
	owners := 0
	for _, c := range n.pending.owners {
		owners += c
	}
	if addrs != n.table.addrs || addrs > n.limits.addrs || owners != n.pending.len() || n.pending.len() > n.limits.pending {
		t.Fatalf("counts: %d addresses (table says %d), %d pending (owners say %d)", addrs, n.table.addrs, n.pending.len(), owners)
	}
}

func checkName(t *testing.T, s string) {
	t.Helper()
	if again, ok := normalise(s); !ok || again != s || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		t.Fatalf("strange name %q", s)
	}
}

func dnsSeeds(f *testing.F) (out [][]byte) {
	return [][]byte{
		queryMsg(f, 7, "example.com", typeA),
		answerMsg(f, 7, "example.com", typeA, cnameRR("example.com", "b.test", 9), addrRR("b.test", web, 60)),
		answerMsg(f, 7, "example.com", dnsmessage.TypeHTTPS, httpsRR("example.com", 0, "b.test", 60), httpsRR("b.test", 1, ".", 60, web, netip.MustParseAddr("2001:db8::1"))),
		answerMsg(f, 7, "example.com", dnsmessage.TypeALL, cnameRR("example.com", "example.com", 9)),
		{}, make([]byte, 12), bytes.Repeat([]byte{0xc0}, 40),
	}
}

func FuzzDNSMessage(f *testing.F) {
	for _, s := range dnsSeeds(f) {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, msg []byte, cut bool) {
		n, x := fuzzNames(t), ask(alice)
		n.Payload(x.payload(event.PayloadDNSQuery, msg))
		if q, err := parseQuestion(msg); err == nil { // so that the answer pairs
			n.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, q.id, q.name, q.typ)))
		}
		p := x.payload(event.PayloadDNSAnswer, msg)
		if cut {
			p.Length++
		}
		n.Payload(p)
		checkNames(t, n)
		a, err := parseAnswer(msg, cut)
		if err == nil && (len(a.addrs) > 2*maxRecords || a.foreign < 0) {
			t.Fatalf("answer with %d addresses, %d foreign", len(a.addrs), a.foreign)
		}
	})
}

// FuzzTCPStream cuts data into segments as script says: position and length in
// turn, with wire lengths that may exceed what was captured.
func FuzzTCPStream(f *testing.F) {
	stream := framed(answerMsg(f, 1, "one.example", typeA, addrRR("one.example", web, 60)), answerMsg(f, 2, "two.example", typeA))
	f.Add(stream, []byte{0, 255})
	f.Add(stream, []byte{20, 30, 0, 20, 50, 255})
	f.Add(stream, []byte{0, 1, 1, 1, 2, 200, 0, 255})
	f.Add(bytes.Repeat([]byte{0xff}, 3000), []byte{0, 255, 128, 255})
	f.Fuzz(func(t *testing.T, data, script []byte) {
		n, x := fuzzNames(t), ask(alice)
		for id := range uint16(3) {
			n.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, id, "one.example", typeA)))
		}
		for i := 0; i+1 < len(script) && i < 400; i += 2 {
			from := min(int(script[i])*len(data)/256, len(data))
			to := min(from+int(script[i+1])*8, len(data))
			for _, kind := range []event.PayloadKind{event.PayloadDNSQuery, event.PayloadDNSAnswer, event.PayloadTLS} {
				p := x.payload(kind, data[from:to])
				p.Proto, p.Seq = event.ProtoTCP, uint32(from)-50
				if script[i]%5 == 0 {
					p.Length += uint32(script[i+1])
				}
				n.Payload(p)
			}
		}
		checkNames(t, n)
	})
}

func FuzzClientHello(f *testing.F) {
	// Real hellos are in testdata: a seed must be the same in every run.
	f.Add([]byte{22, 3, 1, 0, 4, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		handshake, ok := unwrapRecords(data)
		h, state := parseHello(handshake)
		if h.name != "" {
			checkName(t, h.name)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("the input was written to")
		}
		// More bytes never take back that the hello was complete, nor its name.
		if ok && state == helloMore && h.name != "" && len(data) > 0 {
			short, _ := unwrapRecords(data[:len(data)-1])
			if s, _ := parseHello(short); s.name != "" && s.name != h.name {
				t.Fatalf("name changed from %q to %q", s.name, h.name)
			}
		}
		n := fuzzNames(t)
		n.Payload(tlsPayload(1, 0, data))
		checkNames(t, n)
	})
}

func FuzzQUIC(f *testing.F) {
	f.Add([]byte{}, join([]byte{frameACK, 5, 0, 1, 0, 1, 1}, unhex(f, rfcHello)))
	f.Add([]byte{}, join(cryptoFrame(200, unhex(f, rfcHello)[204:]), cryptoFrame(0, unhex(f, rfcHello)[4:204])))
	f.Add([]byte{0xc0, 0, 0, 0, 1, 8}, []byte{frameCrypto, 0xff})
	// The fuzzer cannot seal a packet: frames are tried behind the seal as well.
	f.Fuzz(func(t *testing.T, datagram, frames []byte) {
		n := fuzzNames(t)
		n.Payload(quicPayload(1, datagram))
		n.Payload(quicPayload(1, datagram[:min(len(datagram), maxPayload)]))
		if len(frames) < 3000 {
			n.Payload(quicPayload(2, newFlow(t, quicV1).packet(frames)))
		}
		checkNames(t, n)
		for i := n.quics.root.next; i != &n.quics.root; i = i.next {
			for _, c := range i.value {
				if len(c.crypto.buf) > maxStream || c.crypto.held > maxStream || len(c.crypto.early) > maxEarly {
					t.Fatal("connection out of bounds")
				}
			}
		}
	})
}

func FuzzResolvedJSON(f *testing.F) {
	f.Add([]byte(ready + "\x00" + result(f, "success", nil, []string{"one.example"}, addrRR("one.example", web, 60)) + "\x00"))
	f.Add([]byte(result(f, "success", []string{"www.two.example"}, []string{"cdn.test"}, cnameRR("www.two.example", "cdn.test", 6), addrRR("cdn.test", web, 60)) + "\x00"))
	f.Add([]byte(`{"error":"x"}` + "\x00"))
	f.Add([]byte(`{"parameters":{"state":"success","question":[{"name":"a"}],"answer":[{"raw":"wAA="}]}}` + "\x00"))
	f.Add([]byte(strings.Repeat("[", 10000) + "\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := fuzzNames(t)
		r := bufio.NewReaderSize(bytes.NewReader(data), 16)
		for {
			msg, err := readVarlink(r, 4096)
			if errors.Is(err, errTooLong) {
				continue
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				break
			}
			if n.resolvedMessage(msg, func() {}) != nil {
				break
			}
		}
		checkNames(t, n)
	})
}

func FuzzHosts(f *testing.F) {
	f.Add([]byte("127.0.0.1 localhost\n::1 ip6-localhost # x\n10.0.0.5\tdb.internal db\n0.0.0.0 ads.example\n"))
	f.Add([]byte("nameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch x\n"))
	f.Add([]byte("\xff\x00 \r\v\f#"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := parseHosts(data)
		count := 0
		for addr, names := range h.byAddr {
			if len(names) > maxHostsNames || addr.Is4In6() || addr.Zone() != "" {
				t.Fatalf("%s: %d names", addr, len(names))
			}
			for _, s := range names {
				checkName(t, s)
				count++
			}
		}
		if count != h.names || len(h.byAddr) > maxHostsAddrs {
			t.Fatalf("counted %d names of %d addresses, got told %d", count, len(h.byAddr), h.names)
		}
		var r resolvers
		r.add(data)
		if len(r.addrs) > maxResolvers || slices.ContainsFunc(r.addrs, func(a netip.Addr) bool { return a.Zone() != "" }) {
			t.Fatalf("resolvers: %v", r.addrs)
		}
	})
}
