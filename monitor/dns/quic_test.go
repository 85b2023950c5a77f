package dns

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/quic"

	"snitch/monitor/event"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The client's Initial of RFC 9001 Appendix A.2 and RFC 9369 Appendix A.2.
const (
	rfcDCID  = "8394c8f03e515708"
	rfcHello = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868" +
		"04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578" +
		"616d706c652e636f6dff01000100000a00080006001d00170018001000070005" +
		"04616c706e000500050100000000003300260024001d00209370b2c9caa47fba" +
		"baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400" +
		"0d0010000e0403050306030203080408050806002d00020101001c0002400100" +
		"3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000" +
		"75300901100f088394c8f03e51570806048000ffff"
)

var rfcPackets = []struct {
	name                  string
	version               uint32
	key, iv, hp           string
	header, protectedHead string
}{
	{"v1", quicV1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2",
		"c300000001088394c8f03e5157080000449e00000002",
		"c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c0bab7df5976d27cd449f63300099f399"},
	{"v2", quicV2, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9",
		"d36b3343cf088394c8f03e5157080000449e00000002",
		"d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071bf03dceebfa162e75d6c96058bdbfb127cdfcbf903388e99ad04"},
}

// seal protects frames as a client does. It is written against the RFC with
// keys given from outside, so that it does not share a mistake with open.
func seal(t testing.TB, key, iv, hp, header []byte, numberLen int, frames []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	number := header[len(header)-numberLen:]
	nonce := bytes.Clone(iv)
	for i, c := range number {
		nonce[len(nonce)-numberLen+i] ^= c
	}
	packet := aead.Seal(bytes.Clone(header), nonce, frames, header)
	start := len(header) - numberLen
	mask := make([]byte, 16)
	hpBlock, err := aes.NewCipher(hp)
	if err != nil {
		t.Fatal(err)
	}
	hpBlock.Encrypt(mask, packet[start+4:start+20])
	packet[0] ^= mask[0] & 0x0f
	for i := range numberLen {
		packet[start+i] ^= mask[1+i]
	}
	return packet
}

func TestInitialKeysMatchRFC(t *testing.T) {
	for _, c := range rfcPackets {
		t.Run(c.name, func(t *testing.T) {
			frames := append(unhex(t, rfcHello), make([]byte, 1162-len(rfcHello)/2)...)
			packet := seal(t, unhex(t, c.key), unhex(t, c.iv), unhex(t, c.hp), unhex(t, c.header), 4, frames)
			if head := unhex(t, c.protectedHead); len(packet) != 1200 || !bytes.HasPrefix(packet, head) {
				t.Fatalf("the test's packet is not that of the RFC: %d bytes, %x", len(packet), packet[:len(head)])
			}
			b := newBook(t)
			b.Payload(quicPayload(1, packet))
			b.wantQUIC(1, "example.com")
		})
	}
}

func quicPayload(cookie uint64, data []byte) event.Payload {
	return event.Payload{Kind: event.PayloadQUIC, ID: alice, Cookie: cookie, Proto: event.ProtoUDP, NetNS: hostNS,
		Remote: netip.AddrPortFrom(web, 443), Length: uint32(len(data)), Data: data}
}

func (b *book) wantQUIC(cookie uint64, domain string) {
	b.t.Helper()
	source := event.NameQUIC
	if domain == "" {
		source = event.NameNone
	}
	got := b.Lookup(alice, cookie, event.ProtoUDP, web, b.clock)
	if got.Domain != domain || got.Source != source {
		b.t.Errorf("got %q from %q, want %q from %q (%+v)", got.Domain, got.Source, domain, source, b.Stats())
	}
}

// flow makes the packets of one client.
type flow struct {
	t       testing.TB
	version uint32
	dcid    []byte // in the header
	keys    []byte // connection id that the keys follow from
	token   []byte
	number  uint16
}

func newFlow(t testing.TB, version uint32) *flow {
	dcid := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	return &flow{t: t, version: version, dcid: dcid, keys: dcid}
}

// packet seals frames in an Initial. The derivation of the keys is that of the
// code, which TestInitialKeysMatchRFC holds against the RFC.
func (f *flow) packet(frames []byte) []byte {
	f.t.Helper()
	v, _ := versionOf(f.version)
	const numberLen = 2
	h := []byte{0xc0 | v.initial<<4 | (numberLen - 1)}
	h = binary.BigEndian.AppendUint32(h, f.version)
	h = append(append(h, byte(len(f.dcid))), f.dcid...)
	h = append(h, 4, 9, 9, 9, 9)
	h = appendVarint(h, len(f.token))
	h = append(h, f.token...)
	frames = append(bytes.Clone(frames), make([]byte, max(0, 32-len(frames)))...)
	h = binary.BigEndian.AppendUint16(h, 0x4000|uint16(numberLen+len(frames)+16))
	h = binary.BigEndian.AppendUint16(h, f.number)
	f.number++
	secret := func(label string, n int) []byte {
		initial := hkdfExtract(f.t, v.salt, f.keys)
		client, err := expandLabel(initial, "client in", 32)
		if err != nil {
			f.t.Fatal(err)
		}
		out, err := expandLabel(client, label, n)
		if err != nil {
			f.t.Fatal(err)
		}
		return out
	}
	return seal(f.t, secret(v.key, 16), secret(v.iv, 12), secret(v.hp, 16), h, numberLen, frames)
}

func appendVarint(b []byte, v int) []byte {
	if v < 64 {
		return append(b, byte(v))
	}
	return binary.BigEndian.AppendUint16(b, 0x4000|uint16(v))
}

func cryptoFrame(off int, data []byte) []byte {
	b := appendVarint([]byte{frameCrypto}, off)
	return append(appendVarint(b, len(data)), data...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestQUICInitials(t *testing.T) {
	hello := postQuantumHello(t, "quic.example.com")[recordHeaderLen:]
	half := len(hello) / 2
	cases := []struct {
		name string
		data func(f *flow) [][]byte
	}{
		{"two packets", func(f *flow) [][]byte {
			return [][]byte{f.packet(cryptoFrame(0, hello[:half])), f.packet(cryptoFrame(half, hello[half:]))}
		}},
		{"second packet first", func(f *flow) [][]byte {
			return [][]byte{f.packet(cryptoFrame(half, hello[half:])), f.packet(cryptoFrame(0, hello[:half]))}
		}},
		{"segmentation offload: both in one capture", func(f *flow) [][]byte {
			return [][]byte{join(f.packet(cryptoFrame(0, hello[:half])), f.packet(cryptoFrame(half, hello[half:])))}
		}},
		{"datagram filled with zeros", func(f *flow) [][]byte {
			return [][]byte{join(f.packet(cryptoFrame(0, hello[:half])), make([]byte, 300), f.packet(cryptoFrame(half, hello[half:])))}
		}},
		{"0-RTT between", func(f *flow) [][]byte {
			v, _ := versionOf(f.version)
			other := []byte{0xc0 | (v.initial+1)<<4}
			other = binary.BigEndian.AppendUint32(other, f.version)
			other = append(append(append(other, 8), f.dcid...), 0, 20)
			return [][]byte{join(f.packet(cryptoFrame(0, hello[:half])), other, make([]byte, 20), f.packet(cryptoFrame(half, hello[half:])))}
		}},
		{"shuffled small frames with pings and padding", func(f *flow) [][]byte {
			return shuffled(f, hello, 4)
		}},
		{"overlapping frames", func(f *flow) [][]byte {
			return [][]byte{f.packet(cryptoFrame(0, hello[:half+100])), f.packet(cryptoFrame(half-100, hello[half-100:]))}
		}},
		{"acknowledgements before", func(f *flow) [][]byte {
			ack := []byte{frameACK, 5, 0, 1, 0, 1, 1}
			ecn := []byte{frameACKECN, 5, 0, 0, 0, 1, 1, 1}
			return [][]byte{f.packet(join(ack, ecn, cryptoFrame(0, hello[:half]))), f.packet(cryptoFrame(half, hello[half:]))}
		}},
		{"server chose another connection id", func(f *flow) [][]byte {
			first := f.packet(cryptoFrame(0, hello[:40]))
			f.dcid = []byte{7, 7, 7, 7, 7}
			return [][]byte{first, f.packet(cryptoFrame(40, hello[40:]))}
		}},
		{"retry: new connection id, new keys, token", func(f *flow) [][]byte {
			first := f.packet(cryptoFrame(0, hello[:40]))
			f.dcid = []byte{7, 7, 7, 7, 7, 7, 7, 7}
			f.keys, f.token = f.dcid, bytes.Repeat([]byte{5}, 80)
			return [][]byte{first, f.packet(cryptoFrame(0, hello[:half])), f.packet(cryptoFrame(half, hello[half:]))}
		}},
		{"noise before", func(f *flow) [][]byte {
			return [][]byte{{1}, bytes.Repeat([]byte{0xc0}, 1200), f.packet(cryptoFrame(0, hello))}
		}},
	}
	for _, version := range []uint32{quicV1, quicV2} {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				b := newBook(t)
				for _, d := range c.data(newFlow(t, version)) {
					before := bytes.Clone(d)
					b.Payload(quicPayload(1, d))
					if !bytes.Equal(before, d) {
						t.Fatal("the payload was written to")
					}
				}
				b.wantQUIC(1, "quic.example.com")
				if got := b.Stats().Hellos; got != 1 {
					t.Errorf("hellos read to their end: got %d, want 1", got)
				}
				if got := b.Changed(); len(got) != 1 || got[0] != 1 {
					t.Errorf("changed: got %v, want [1]", got)
				}
			})
		}
	}
}

// shuffled cuts the hello into small CRYPTO frames in any order, as Chrome does.
func shuffled(f *flow, hello []byte, packets int) [][]byte {
	var frames [][]byte
	for off := 0; off < len(hello); off += 37 {
		frames = append(frames, cryptoFrame(off, hello[off:min(off+37, len(hello))]))
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	var out [][]byte
	for i := range packets {
		var body []byte
		for j := i; j < len(frames); j += packets {
			body = append(append(body, framePing, framePadding, framePadding), frames[j]...)
		}
		out = append(out, f.packet(body))
	}
	return out
}

// TestRealQUICClient reads what the QUIC client of golang.org/x/net sends.
func TestRealQUICClient(t *testing.T) {
	b := newBook(t)
	for _, d := range realQUIC(t, "real.example.com") {
		b.Payload(quicPayload(1, d))
	}
	b.wantQUIC(1, "real.example.com")
	if got := b.Stats().Hellos; got != 1 {
		t.Errorf("hellos read to their end: got %d, want 1", got)
	}
}

// realQUIC returns the first flight of a real client, which has no answer.
func realQUIC(t testing.TB, name string) (out [][]byte) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := quic.Listen("udp4", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = client.Dial(ctx, "udp4", conn.LocalAddr().String(), &quic.Config{TLSConfig: &tls.Config{
			ServerName: name, MinVersion: tls.VersionTLS13, NextProtos: []string{"h3"},
			CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519}}})
	}()
	for n := 0; n < 2; n++ { // a post-quantum hello needs two
		buf := make([]byte, 2048)
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		k, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, buf[:k])
	}
	cancel()
	<-done
	closeCtx, cancelClose := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancelClose()
	_ = client.Close(closeCtx) // nobody answers: it is aborted
	return out
}

func TestBadInitialsGiveNoClaim(t *testing.T) {
	hello := postQuantumHello(t, "quic.example.com")[recordHeaderLen:]
	good := newFlow(t, quicV1).packet(cryptoFrame(0, hello))
	flip := func(i int) []byte {
		out := bytes.Clone(good)
		out[(i+len(out))%len(out)] ^= 1
		return out
	}
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"tag", flip(-1)}, {"connection id", flip(7)}, {"token length", flip(19)}, {"body", flip(100)},
		{"unknown version", flip(3)}, {"short header", append([]byte{0x40}, good[1:]...)},
		{"cut", good[:len(good)-1]}, {"header only", good[:20]}, {"empty", nil}, {"zeros", make([]byte, 1200)},
		{"connection id too long", join([]byte{0xc0, 0, 0, 0, 1, 255}, make([]byte, 1200))},
		{"offset beyond all hellos", newFlow(t, quicV1).packet(append([]byte{frameCrypto, 0xbf, 0xff, 0xff, 0xff}, 1, 1))},
		{"frame longer than the packet", newFlow(t, quicV1).packet([]byte{frameCrypto, 0, 0x7f, 0xff})},
		{"other frame", newFlow(t, quicV1).packet([]byte{0x08, 0, 1})},
		{"no hello", newFlow(t, quicV1).packet(cryptoFrame(0, []byte("hello, world")))},
		{"acknowledgement of everything", newFlow(t, quicV1).packet([]byte{frameACK, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(t)
			b.Payload(quicPayload(1, c.data))
			b.wantQUIC(1, "")
		})
	}
}

func TestQUICOfManyPeersOnOneSocket(t *testing.T) {
	b := newBook(t)
	other := netip.MustParseAddr("203.0.113.20")
	b.Payload(quicPayload(1, newFlow(t, quicV1).packet(cryptoFrame(0, postQuantumHello(t, "one.example.com")[recordHeaderLen:]))))
	p := quicPayload(1, newFlow(t, quicV1).packet(cryptoFrame(0, postQuantumHello(t, "two.example.com")[recordHeaderLen:])))
	p.Remote = netip.AddrPortFrom(other, 443)
	b.Payload(p)
	b.wantQUIC(1, "one.example.com")
	if got := b.Lookup(alice, 1, event.ProtoUDP, other, b.clock); got.Domain != "two.example.com" {
		t.Errorf("second peer: got %q, want two.example.com", got.Domain)
	}
}

func TestQUICStateIsBounded(t *testing.T) {
	b := newBook(t, func(l *limits) { l.quics = 5 })
	part := postQuantumHello(t, "quic.example.com")[recordHeaderLen:][:200]
	for i := range uint64(100) {
		f := newFlow(t, quicV1)
		f.dcid = binary.BigEndian.AppendUint64(nil, i)
		f.keys = f.dcid
		b.Payload(quicPayload(i/10, f.packet(cryptoFrame(1, part))))
	}
	if got := b.quics.len(); got != 5 {
		t.Errorf("flows: got %d, want 5", got)
	}
	for i := b.quics.root.next; i != &b.quics.root; i = i.next {
		if len(i.value) > maxQUICConns {
			t.Errorf("connections of one flow: got %d, want at most %d", len(i.value), maxQUICConns)
		}
	}
}

func BenchmarkQUICInitial(b *testing.B) {
	n, err := New(Config{NetNS: hostNS}, Deps{})
	if err != nil {
		b.Fatal(err)
	}
	p := quicPayload(0, newFlow(b, quicV1).packet(cryptoFrame(0, postQuantumHello(b, "quic.example.com")[recordHeaderLen:][:1100])))
	for b.Loop() {
		p.Cookie++
		n.Payload(p)
	}
}
