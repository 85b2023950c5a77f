package dns

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"snitch/monitor/event"
)

const hostNS = 4026531840

var (
	resolver = netip.MustParseAddrPort("192.0.2.53:53")
	rogue    = netip.MustParseAddrPort("198.51.100.66:53")
	web      = netip.MustParseAddr("203.0.113.10")
	alice    = event.ProcessID{PID: 100, Exec: 7, Start: 1000}
	mallory  = event.ProcessID{PID: 666, Exec: 9, Start: 2000}
)

// book is a Names with a clock that stands still until told otherwise.
type book struct {
	*Names
	t     *testing.T
	clock time.Time
	lost  uint64
}

func newBook(t *testing.T, change ...func(*limits)) *book {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "resolv.conf")
	write(t, conf, "nameserver "+resolver.Addr().String()+"\n")
	write(t, filepath.Join(dir, "hosts"), "")
	return newBookWith(t, Config{HostsFile: filepath.Join(dir, "hosts"), ResolvConf: conf,
		ResolvedConf: filepath.Join(dir, "none"), ResolvedSocket: filepath.Join(dir, "socket")}, change...)
}

func newBookWith(t *testing.T, cfg Config, change ...func(*limits)) *book {
	t.Helper()
	b := &book{t: t, clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	l := defaultLimits
	for _, f := range change {
		f(&l)
	}
	cfg.NetNS = hostNS
	n, err := newNames(cfg, Deps{Now: func() time.Time { return b.clock },
		Loss: func(_ event.LossCause, count uint64) { b.lost += count }}, l)
	if err != nil {
		t.Fatal(err)
	}
	b.Names = n
	return b
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (b *book) pass(d time.Duration) { b.clock = b.clock.Add(d) }

// exchange is one query and its answer.
type exchange struct {
	id     event.ProcessID
	cookie uint64
	server netip.AddrPort
	netns  uint32
}

func ask(id event.ProcessID) exchange {
	return exchange{id: id, cookie: uint64(id.PID) << 8, server: resolver, netns: hostNS}
}

func (x exchange) payload(kind event.PayloadKind, data []byte) event.Payload {
	return event.Payload{Kind: kind, ID: x.id, Cookie: x.cookie, Proto: event.ProtoUDP, NetNS: x.netns,
		Local: netip.MustParseAddrPort("192.0.2.1:40000"), Remote: x.server, Length: uint32(len(data)), Data: data}
}

// learn makes x's process ask for name and get addrs, over UDP.
func (b *book) learn(x exchange, name string, ttl uint32, addrs ...string) {
	b.t.Helper()
	for i, a := range addrs {
		addr := netip.MustParseAddr(a)
		typ := dnsmessage.TypeA
		if addr.Is6() {
			typ = dnsmessage.TypeAAAA
		}
		id := uint16(1000 + i)
		b.Payload(x.payload(event.PayloadDNSQuery, queryMsg(b.t, id, name, typ)))
		b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(b.t, id, name, typ, addrRR(name, addr, ttl))))
	}
}

func (b *book) lookup(id event.ProcessID, cookie uint64, addr netip.Addr) event.Name {
	return b.Lookup(id, cookie, event.ProtoTCP, addr, b.clock)
}

func (b *book) want(id event.ProcessID, addr netip.Addr, domain string, source event.NameSource) {
	b.t.Helper()
	got := b.lookup(id, 1, addr)
	if got.Domain != domain || got.Source != source {
		b.t.Errorf("name of %s for process %d: got %q from %q, want %q from %q",
			addr, id.PID, got.Domain, got.Source, domain, source)
	}
}

func name(t testing.TB, s string) dnsmessage.Name {
	t.Helper()
	n, err := dnsmessage.NewName(strings.TrimSuffix(s, ".") + ".")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func queryMsg(t testing.TB, id uint16, qname string, typ dnsmessage.Type) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name(t, qname), Type: typ, Class: dnsmessage.ClassINET}}}
	return pack(t, m)
}

type rr func(t testing.TB) dnsmessage.Resource

func addrRR(owner string, addr netip.Addr, ttl uint32) rr {
	return func(t testing.TB) dnsmessage.Resource {
		h := dnsmessage.ResourceHeader{Name: name(t, owner), Class: dnsmessage.ClassINET, TTL: ttl}
		if addr.Is4() {
			return dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}}
		}
		return dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}}
	}
}

func cnameRR(owner, target string, ttl uint32) rr {
	return func(t testing.TB) dnsmessage.Resource {
		return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name(t, owner), Class: dnsmessage.ClassINET, TTL: ttl},
			Body: &dnsmessage.CNAMEResource{CNAME: name(t, target)}}
	}
}

func httpsRR(owner string, priority uint16, target string, ttl uint32, hints ...netip.Addr) rr {
	return func(t testing.TB) dnsmessage.Resource {
		r := dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{Priority: priority, Target: name(t, target)}}
		var v4, v6 []byte
		for _, a := range hints {
			if a.Is4() {
				v4 = append(v4, a.AsSlice()...)
			} else {
				v6 = append(v6, a.AsSlice()...)
			}
		}
		if v4 != nil {
			r.SetParam(dnsmessage.SVCParamIPv4Hint, v4)
		}
		if v6 != nil {
			r.SetParam(dnsmessage.SVCParamIPv6Hint, v6)
		}
		return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name(t, owner), Class: dnsmessage.ClassINET, TTL: ttl}, Body: &r}
	}
}

func answerMsg(t testing.TB, id uint16, qname string, typ dnsmessage.Type, rrs ...rr) []byte {
	t.Helper()
	return pack(t, answerOf(t, id, qname, typ, rrs...))
}

func answerOf(t testing.TB, id uint16, qname string, typ dnsmessage.Type, rrs ...rr) dnsmessage.Message {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, Response: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{{Name: name(t, qname), Type: typ, Class: dnsmessage.ClassINET}}}
	for _, r := range rrs {
		m.Answers = append(m.Answers, r(t))
	}
	return m
}

func pack(t testing.TB, m dnsmessage.Message) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// framed puts the length prefix of DNS over TCP in front.
func framed(msgs ...[]byte) (out []byte) {
	for _, m := range msgs {
		out = binary.BigEndian.AppendUint16(out, uint16(len(m)))
		out = append(out, m...)
	}
	return out
}

func hkdfExtract(t testing.TB, salt, secret []byte) []byte {
	t.Helper()
	out, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
