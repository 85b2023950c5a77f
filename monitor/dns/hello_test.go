package dns

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"

	"snitch/monitor/event"
)

// clientHelloOf returns the first flight of a real client, TLS records and all.
func clientHelloOf(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(client, cfg).Handshake() // ends when the pipe is closed
	}()
	header := make([]byte, recordHeaderLen)
	if _, err := io.ReadFull(server, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	client.Close()
	server.Close()
	<-done
	return append(header, body...)
}

func postQuantumHello(t testing.TB, name string) []byte {
	t.Helper()
	hello := clientHelloOf(t, &tls.Config{ServerName: name, NextProtos: []string{"h2", "http/1.1"},
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519}})
	if len(hello) < 1400 {
		t.Fatalf("hello is %d bytes, want a post-quantum key share in it", len(hello))
	}
	return hello
}

// resplit puts the handshake bytes of one record into records of n bytes.
func resplit(record []byte, n int) (out []byte) {
	for body := record[recordHeaderLen:]; len(body) > 0; {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		out = append(out, recordHandshake, 3, 1)
		out = binary.BigEndian.AppendUint16(out, uint16(len(part)))
		out = append(out, part...)
	}
	return out
}

func tlsPayload(cookie uint64, seq uint32, data []byte) event.Payload {
	return event.Payload{Kind: event.PayloadTLS, ID: alice, Cookie: cookie, Proto: event.ProtoTCP, NetNS: hostNS,
		Remote: netip.AddrPortFrom(web, 443), Seq: seq, Length: uint32(len(data)), Data: data}
}

func TestClientHelloGivesClaim(t *testing.T) {
	pq := postQuantumHello(t, "pq.Example.com")
	classic := clientHelloOf(t, &tls.Config{ServerName: "pq.example.com", MaxVersion: tls.VersionTLS12})
	for _, c := range []struct {
		name    string
		stream  []byte
		segment int
	}{
		{"one segment", pq, len(pq)},
		{"TLS 1.2", classic, len(classic)},
		{"Ethernet segments", pq, 1448},
		{"small segments", pq, 17},
		{"bytes", classic, 1},
		{"split records", resplit(pq, 100), len(pq)},
		{"split records in segments that fit neither", resplit(pq, 100), 61},
		{"records of one byte", resplit(classic, 1), 1448},
		{"application data behind", append(bytes.Clone(pq), 23, 3, 3, 0, 2, 1, 2), 1448},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(t)
			seq := uint32(0xffffff00) // wraps on the way
			for rest := c.stream; len(rest) > 0; {
				n := min(c.segment, len(rest))
				b.Payload(tlsPayload(1, seq, rest[:n]))
				b.Payload(tlsPayload(1, seq, rest[:n])) // retransmitted
				seq, rest = seq+uint32(n), rest[n:]
			}
			b.want(alice, web, "pq.example.com", event.NameSNI)
			if got := b.Changed(); len(got) != 1 || got[0] != 1 {
				t.Errorf("changed: got %v, want [1]", got)
			}
			s := b.Stats()
			if s.Hellos != 1 || s.HellosBad > 1 || s.Claims != 1 {
				t.Errorf("got %d hellos, %d bad, %d claims, want 1, 0 or 1 (bytes behind), 1", s.Hellos, s.HellosBad, s.Claims)
			}
		})
	}
}

func TestReorderedHello(t *testing.T) {
	b, hello := newBook(t), postQuantumHello(t, "pq.example.com")
	for _, at := range []int{0, 1000, 1200, 500} {
		b.Payload(tlsPayload(1, uint32(at), hello[at:min(at+500, len(hello))]))
	}
	b.want(alice, web, "pq.example.com", event.NameSNI)
}

// TestCutHello: the kernel captures 4 KiB; the name stands before the cut.
func TestCutHello(t *testing.T) {
	protos := make([]string, 200)
	for i := range protos {
		protos[i] = "a-long-protocol-name-that-fills-the-hello"
	}
	hello := clientHelloOf(t, &tls.Config{ServerName: "long.example.com", NextProtos: protos})
	if len(hello) < 8000 {
		t.Fatalf("hello is %d bytes, want one that is cut", len(hello))
	}
	b := newBook(t)
	p := tlsPayload(1, 0, hello[:maxPayload])
	p.Length = uint32(len(hello))
	b.Payload(p)
	handshake, _ := unwrapRecords(hello[:maxPayload])
	if h, state := parseHello(handshake); h.name != "long.example.com" && state != helloMore {
		t.Fatalf("got %q, state %d", h.name, state)
	}
	got := b.lookup(alice, 1, web)
	at := bytes.Index(hello, []byte("long.example.com"))
	if inside := at+len("long.example.com") <= maxPayload; inside != (got.Domain == "long.example.com") {
		t.Errorf("name at offset %d of 4096 captured: got %q", at, got.Domain)
	}
}

func TestEncryptedHelloIsMarked(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hello := clientHelloOf(t, &tls.Config{ServerName: "secret.example.com", MinVersion: tls.VersionTLS13,
		EncryptedClientHelloConfigList: echConfigList("front.example.net", key.PublicKey().Bytes())})
	b := newBook(t)
	b.Payload(tlsPayload(1, 0, hello))
	e := b.Candidates(alice, 1, event.ProtoTCP, web, b.clock)
	if len(e) != 1 || e[0].Domain != "front.example.net" || e[0].Source != event.NameSNI || !e[0].ECH {
		t.Errorf("got %+v, want the outer name, marked", e)
	}
	b.Payload(tlsPayload(2, 0, clientHelloOf(t, &tls.Config{ServerName: "plain.example.com"})))
	if e := b.Candidates(alice, 2, event.ProtoTCP, web, b.clock); len(e) != 1 || e[0].ECH {
		t.Errorf("without ECH: got %+v, want one candidate, not marked", e)
	}
}

// echConfigList is an ECHConfigList of one config (RFC 9849 §4).
func echConfigList(public string, key []byte) []byte {
	u16 := binary.BigEndian.AppendUint16
	c := []byte{1}     // config id
	c = u16(c, 0x0020) // DHKEM(X25519, HKDF-SHA256)
	c = u16(c, 32)     // public key
	c = append(c, key...)
	c = u16(c, 4)      // one suite
	c = u16(c, 0x0001) // HKDF-SHA256
	c = u16(c, 0x0001) // AES-128-GCM
	c = append(c, 0)   // maximum name length
	c = append(c, byte(len(public)))
	c = append(c, public...)
	c = u16(c, 0) // extensions
	config := u16(u16(nil, extECH), uint16(len(c)))
	config = append(config, c...)
	return append(u16(nil, uint16(len(config))), config...)
}

func TestBadHelloGivesNoClaim(t *testing.T) {
	good := clientHelloOf(t, &tls.Config{ServerName: "abc.example.c"})
	replace := func(s string) []byte {
		out := bytes.Replace(bytes.Clone(good), []byte("abc.example.c"), []byte(s), 1)
		if bytes.Equal(out, good) || len(out) != len(good) {
			t.Fatalf("name %q did not replace", s)
		}
		return out
	}
	server := bytes.Clone(good)
	server[recordHeaderLen] = 2
	version := bytes.Clone(good)
	version[recordHeaderLen+handshakeHdrLen] = 9
	long := bytes.Clone(good)
	long[recordHeaderLen+1] = 0xff
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"IPv4 literal", replace("192.168.10.10")},
		{"control characters", replace("abc\x1b[31m.xx.c")},
		{"NUL", replace("abc.example\x00c")},
		{"space", replace("abc example c")},
		{"empty label", replace("abc..xample.c")},
		{"UTF-8", replace("\xc3\xbcc.example.c")},
		{"ServerHello", server},
		{"strange version", version},
		{"length beyond all clients", long},
		{"no name", clientHelloOf(t, &tls.Config{InsecureSkipVerify: true})},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")},
		{"alert", []byte{21, 3, 1, 0, 2, 2, 40}},
		{"empty record", []byte{22, 3, 1, 0, 0}},
		{"nothing", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(t)
			b.Payload(tlsPayload(1, 0, c.data))
			b.want(alice, web, "", event.NameNone)
			if got := b.Changed(); got != nil {
				t.Errorf("changed: got %v, want none", got)
			}
		})
	}
}

// TestEveryPrefix: a hello may end anywhere without being taken for a bad one,
// and with the bytes behind the name the name is there.
func TestEveryPrefix(t *testing.T) {
	hello := postQuantumHello(t, "pq.example.com")
	end := bytes.Index(hello, []byte("pq.example.com")) + len("pq.example.com")
	for n := range len(hello) {
		handshake, ok := unwrapRecords(hello[:n])
		h, state := parseHello(handshake)
		if !ok || state != helloMore || (h.name != "") != (n >= end) {
			t.Fatalf("first %d bytes: got %q, state %d, records %v; the name ends at %d", n, h.name, state, ok, end)
		}
	}
}

func TestHelloStreamIsBounded(t *testing.T) {
	b := newBook(t, func(l *limits) { l.streams = 4 })
	junk := append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3}, make([]byte, 4000)...)
	junk[recordHeaderLen+handshakeHdrLen+2+32+1] = 0xff // more cipher suites than were captured
	for i := range uint64(100) {
		b.Payload(tlsPayload(i, 0, junk))
	}
	if got := b.streams.len(); got != 4 {
		t.Errorf("streams: got %d, want 4", got)
	}
	if b.lost != 96 {
		t.Errorf("lost: got %d, want 96", b.lost)
	}
	b.pass(streamLife * 2)
	b.Expire(b.clock)
	if got := b.streams.len(); got != 0 {
		t.Errorf("streams after their life: got %d, want 0", got)
	}
}

func BenchmarkClientHello(b *testing.B) {
	n, err := New(Config{NetNS: hostNS}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	p := tlsPayload(0, 0, postQuantumHello(b, "pq.example.com"))
	for b.Loop() {
		p.Cookie++
		n.Payload(p)
	}
}
