package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"snitch/monitor/event"
)

const typeA = dnsmessage.TypeA

func TestAnswerGivesName(t *testing.T) {
	v6 := netip.MustParseAddr("2001:db8::10")
	cases := []struct {
		name  string
		qname string
		typ   dnsmessage.Type
		rrs   []rr
		addr  netip.Addr
		want  string
	}{
		{"A", "Example.COM", typeA, []rr{addrRR("example.com", web, 60)}, web, "example.com"},
		{"AAAA", "example.com", dnsmessage.TypeAAAA, []rr{addrRR("example.com", v6, 60)}, v6, "example.com"},
		{"CNAME chain", "www.example.com", typeA, []rr{cnameRR("www.example.com", "cdn.example.net", 60),
			cnameRR("cdn.example.net", "e7.edge.test", 60), addrRR("e7.edge.test", web, 60)}, web, "www.example.com"},
		{"CNAME chain out of order", "www.example.com", typeA, []rr{addrRR("e7.edge.test", web, 60),
			cnameRR("cdn.example.net", "e7.edge.test", 60), cnameRR("www.example.com", "cdn.example.net", 60)}, web, "www.example.com"},
		{"owner in other case", "example.com", typeA, []rr{addrRR("eXaMpLe.CoM", web, 60)}, web, "example.com"},
		{"HTTPS ipv4hint", "example.com", dnsmessage.TypeHTTPS, []rr{httpsRR("example.com", 1, ".", 60, web)}, web, "example.com"},
		{"HTTPS ipv6hint", "example.com", dnsmessage.TypeHTTPS, []rr{httpsRR("example.com", 1, "svc.example.net", 60, v6)}, v6, "example.com"},
		{"HTTPS alias", "example.com", dnsmessage.TypeHTTPS, []rr{httpsRR("example.com", 0, "pool.example.net", 60),
			httpsRR("pool.example.net", 1, ".", 60, web)}, web, "example.com"},
		{"ANY", "example.com", dnsmessage.TypeALL, []rr{addrRR("example.com", web, 60)}, web, "example.com"},
		{"v4-mapped AAAA", "example.com", dnsmessage.TypeAAAA,
			[]rr{addrRR("example.com", netip.AddrFrom16(web.As16()), 60)}, web, "example.com"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, x := newBook(t), ask(alice)
			b.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, 7, c.qname, c.typ)))
			b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(t, 7, c.qname, c.typ, c.rrs...)))
			b.want(alice, c.addr, c.want, event.NameDNS)
			got := b.lookup(alice, 1, c.addr)
			if got.Server != resolver.Addr() || !got.At.Equal(b.clock) {
				t.Errorf("got server %s at %s, want %s at %s", got.Server, got.At, resolver.Addr(), b.clock)
			}
		})
	}
}

// TestRogueAnswerGivesNoName: none of these may make a name for anybody.
func TestRogueAnswerGivesNoName(t *testing.T) {
	good := ask(alice)
	a := func(id uint16, qname string, typ dnsmessage.Type, rrs ...rr) func(*testing.T) []byte {
		return func(t *testing.T) []byte { return answerMsg(t, id, qname, typ, rrs...) }
	}
	rrGood := addrRR("bank.example", web, 60)
	forged := a(7, "bank.example", typeA, rrGood)
	cases := []struct {
		name  string
		x     exchange
		proto uint16
		msg   func(*testing.T) []byte
	}{
		{"forged id", good, event.ProtoUDP, a(8, "bank.example", typeA, rrGood)},
		{"wrong server", exchange{alice, good.cookie, rogue, hostNS}, event.ProtoUDP, forged},
		{"wrong server port", exchange{alice, good.cookie, netip.AddrPortFrom(resolver.Addr(), 5300), hostNS}, event.ProtoUDP, forged},
		{"other socket", exchange{alice, 99, resolver, hostNS}, event.ProtoUDP, forged},
		{"other process", exchange{mallory, good.cookie, resolver, hostNS}, event.ProtoUDP, forged},
		{"other process and socket", ask(mallory), event.ProtoUDP, forged},
		{"other image", exchange{event.ProcessID{PID: alice.PID, Exec: 8, Start: alice.Start}, good.cookie, resolver, hostNS}, event.ProtoUDP, forged},
		{"other name", good, event.ProtoUDP, a(7, "evil.example", typeA, addrRR("evil.example", web, 60))},
		{"other type", good, event.ProtoUDP, a(7, "bank.example", dnsmessage.TypeHTTPS, httpsRR("bank.example", 1, ".", 60, web))},
		{"no question", good, event.ProtoUDP, func(t *testing.T) []byte {
			m := answerOf(t, 7, "bank.example", typeA, rrGood)
			m.Questions = nil
			return pack(t, m)
		}},
		{"two questions", good, event.ProtoUDP, func(t *testing.T) []byte {
			m := answerOf(t, 7, "bank.example", typeA, rrGood)
			m.Questions = append(m.Questions, m.Questions[0])
			return pack(t, m)
		}},
		{"a query as answer", good, event.ProtoUDP, func(t *testing.T) []byte {
			m := answerOf(t, 7, "bank.example", typeA, rrGood)
			m.Response = false
			return pack(t, m)
		}},
		{"record of another name", good, event.ProtoUDP, a(7, "bank.example", typeA, addrRR("other.example", web, 60))},
		{"poisoned alias", good, event.ProtoUDP, a(7, "bank.example", typeA,
			cnameRR("other.example", "evil.example", 60), addrRR("evil.example", web, 60))},
		{"AAAA for A", good, event.ProtoUDP, a(7, "bank.example", typeA, httpsRR("bank.example", 1, ".", 60, web))},
		{"additional section", good, event.ProtoUDP, func(t *testing.T) []byte {
			m := answerOf(t, 7, "bank.example", typeA, rrGood)
			m.Additionals, m.Answers = m.Answers, nil
			return pack(t, m)
		}},
		{"NXDOMAIN", good, event.ProtoUDP, func(t *testing.T) []byte {
			m := answerOf(t, 7, "bank.example", typeA, rrGood)
			m.RCode = dnsmessage.RCodeNameError
			return pack(t, m)
		}},
		{"an update", good, event.ProtoUDP, func(t *testing.T) []byte {
			m := answerOf(t, 7, "bank.example", typeA, rrGood)
			m.OpCode = 5
			return pack(t, m)
		}},
		{"breaks off without TC", good, event.ProtoUDP, func(t *testing.T) []byte {
			msg := answerMsg(t, 7, "bank.example", typeA, rrGood, rrGood)
			return msg[:len(msg)-3]
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(t)
			b.Payload(good.payload(event.PayloadDNSQuery, queryMsg(t, 7, "bank.example", typeA)))
			b.Payload(c.x.payload(event.PayloadDNSAnswer, c.msg(t)))
			for _, id := range []event.ProcessID{alice, mallory, c.x.id} {
				b.want(id, web, "", event.NameNone)
			}
			if b.Stats().Learned != 0 {
				t.Errorf("facts learned: got %d, want 0", b.Stats().Learned)
			}
		})
	}
}

func TestUnsolicitedAnswerIsCounted(t *testing.T) {
	b, x := newBook(t), ask(alice)
	b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(t, 7, "bank.example", typeA, addrRR("bank.example", web, 60))))
	b.want(alice, web, "", event.NameNone)
	if s := b.Stats(); s.Unpaired != 1 || s.Paired != 0 {
		t.Errorf("got %d unpaired, %d paired, want 1, 0", s.Unpaired, s.Paired)
	}
}

func TestForgedAnswerDoesNotSpendTheQuery(t *testing.T) {
	b, x := newBook(t), ask(alice)
	b.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, 7, "bank.example", typeA)))
	b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(t, 8, "bank.example", typeA, addrRR("bank.example", web, 60))))
	b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(t, 7, "bank.example", typeA, addrRR("bank.example", web, 60))))
	b.want(alice, web, "bank.example", event.NameDNS)
}

func TestSecondAnswerIsNotBelieved(t *testing.T) {
	b, x := newBook(t), ask(alice)
	other := netip.MustParseAddr("198.51.100.99")
	b.learn(x, "bank.example", 60, web.String())
	b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(t, 1000, "bank.example", typeA, addrRR("bank.example", other, 60))))
	b.want(alice, other, "", event.NameNone)
}

func TestQueryTimesOut(t *testing.T) {
	b, x := newBook(t), ask(alice)
	b.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, 7, "slow.example", typeA)))
	b.pass(pendingLife + time.Second)
	b.Expire(b.clock)
	b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(t, 7, "slow.example", typeA, addrRR("slow.example", web, 60))))
	b.want(alice, web, "", event.NameNone)
	if got := b.Stats().Pending; got != 0 {
		t.Errorf("pending: got %d, want 0", got)
	}
}

func TestTruncatedAnswerIsPartial(t *testing.T) {
	second := netip.MustParseAddr("203.0.113.11")
	whole := answerMsg(t, 7, "big.example", typeA, addrRR("big.example", web, 60), addrRR("big.example", second, 60))
	for _, how := range []string{"by the server", "by the capture"} {
		t.Run(how, func(t *testing.T) {
			b, x := newBook(t), ask(alice)
			msg := append([]byte(nil), whole[:len(whole)-3]...)
			p := x.payload(event.PayloadDNSAnswer, msg)
			if how == "by the server" {
				msg[2] |= 0x02 // TC
			} else {
				p.Length = uint32(len(whole))
			}
			b.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, 7, "big.example", typeA)))
			b.Payload(p)
			b.want(alice, web, "big.example", event.NameDNS)
			b.want(alice, second, "", event.NameNone)
			if got := b.Stats().Partial; got != 1 {
				t.Errorf("partial answers: got %d, want 1", got)
			}
		})
	}
}

func TestMulticastDNSIsIgnored(t *testing.T) {
	for _, server := range []string{"224.0.0.251:5353", "[ff02::1:3]:5355", "192.0.2.9:5353", "224.0.0.251:53"} {
		b, x := newBook(t), ask(alice)
		x.server = netip.MustParseAddrPort(server)
		b.learn(x, "printer.local", 60, web.String())
		b.want(alice, web, "", event.NameNone)
		if s := b.Stats(); s.Ignored != 2 || s.Queries != 0 {
			t.Errorf("%s: got %d ignored, %d queries, want 2, 0", server, s.Ignored, s.Queries)
		}
	}
}

func TestMeaninglessAddressesAreNotLearned(t *testing.T) {
	b, x := newBook(t), ask(alice)
	for _, a := range []string{"0.0.0.0", "::", "224.0.0.1", "ff02::1"} {
		b.learn(x, "blocked.example", 60, a)
		b.want(alice, netip.MustParseAddr(a), "", event.NameNone)
	}
}

func TestOtherProcessSeesConfiguredAnswersOnly(t *testing.T) {
	loop := netip.MustParseAddr("127.0.0.1")
	for _, c := range []struct {
		name   string
		change func(*exchange)
		addr   netip.Addr
		want   event.NameSource
	}{
		{"configured resolver", func(*exchange) {}, web, event.NameDNSOther},
		{"rogue server", func(x *exchange) { x.server = rogue }, web, event.NameNone},
		{"own network namespace", func(x *exchange) { x.netns = 1 }, web, event.NameNone},
		{"other port", func(x *exchange) { x.server = netip.AddrPortFrom(resolver.Addr(), 5300) }, web, event.NameNone},
		{"loopback address", func(*exchange) {}, loop, event.NameNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, x := newBook(t), ask(mallory)
			c.change(&x)
			b.learn(x, "bank.example", 60, c.addr.String())
			if got := b.lookup(alice, 1, c.addr); got.Source != c.want {
				t.Errorf("alice: got %q from %q, want source %q", got.Domain, got.Source, c.want)
			}
			// the process itself keeps what it was told, with the server
			e := b.Candidates(mallory, 1, event.ProtoTCP, c.addr, b.clock)[0]
			configured := x.server == resolver && x.netns == hostNS
			if e.Source != event.NameDNS || e.Configured != configured || e.Server != x.server.Addr() {
				t.Errorf("mallory: got %+v, want source dns, configured %v", e, configured)
			}
		})
	}
}

func TestValidityFollowsTimeToLive(t *testing.T) {
	b, x := newBook(t), ask(alice)
	start := b.clock
	b.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, 7, "www.example.com", typeA)))
	b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(t, 7, "www.example.com", typeA,
		cnameRR("www.example.com", "cdn.test", 30), addrRR("cdn.test", web, 300))))
	at := func(d time.Duration) Evidence {
		return b.Candidates(alice, 1, event.ProtoTCP, web, start.Add(d))[0]
	}
	if e := at(29 * time.Second); !e.Valid || !e.Expires.Equal(start.Add(30*time.Second)) {
		t.Errorf("after 29 s: got valid %v, expires %s, want true, the smallest TTL of the chain", e.Valid, e.Expires.Sub(start))
	}
	e := at(time.Minute)
	if e.Valid || e.Domain != "www.example.com" || e.Source != event.NameDNS {
		t.Errorf("after the TTL: got %+v, want the name, not valid", e)
	}
	b.pass(20 * time.Second)
	b.learn(x, "www.example.com", 30, web.String())
	if e := at(10 * time.Second); !e.Valid || !e.At.Equal(start) {
		t.Errorf("renewed in time: got valid %v, learned %s after the start, want valid without a gap", e.Valid, e.At.Sub(start))
	}
	b.pass(time.Hour)
	b.learn(x, "www.example.com", 30, web.String()) // renewed after a gap
	if e := at(time.Minute); e.Valid || e.Late || !e.At.Equal(start) {
		t.Errorf("in the gap: got %+v, want neither valid nor late, learned at the start", e)
	}
	if e := at(time.Hour + 21*time.Second); !e.Valid {
		t.Error("after the renewal: got not valid, want valid")
	}
	b.pass(factGrace + time.Hour)
	b.Expire(b.clock)
	b.want(alice, web, "", event.NameNone)
}

func TestFloodIsBoundedAndCounted(t *testing.T) {
	small := func(l *limits) {
		l.names, l.processAddrs, l.hostAddrs, l.addrs, l.pending, l.processPending = 3, 10, 10, 40, 20, 5
	}
	t.Run("names of an address", func(t *testing.T) {
		b := newBook(t, small)
		for i := range 100 {
			b.learn(ask(alice), fmt.Sprintf("n%d.example", i), 60, web.String())
		}
		b.want(alice, web, "n99.example", event.NameDNS)
		if got, want := b.lost, uint64(2*97); got != want {
			t.Errorf("lost: got %d, want %d", got, want)
		}
	})
	t.Run("one process does not push out another", func(t *testing.T) {
		b := newBook(t, small)
		b.learn(ask(alice), "bank.example", 60, web.String())
		for i := range 500 {
			b.learn(ask(mallory), "flood.example", 60, fmt.Sprintf("198.18.%d.%d", i>>8, i&255))
		}
		b.want(alice, web, "bank.example", event.NameDNS)
		if got := b.Stats().Addresses; got != 1+10+10 {
			t.Errorf("addresses: got %d, want 21", got)
		}
		if b.lost == 0 {
			t.Error("lost: got 0, want > 0")
		}
	})
	t.Run("all processes", func(t *testing.T) {
		b := newBook(t, small)
		for i := range uint32(200) {
			id := event.ProcessID{PID: 1000 + i, Start: 1}
			b.learn(ask(id), "flood.example", 60, fmt.Sprintf("198.18.0.%d", i))
		}
		if got := b.Stats().Addresses; got > 40 {
			t.Errorf("addresses: got %d, want at most 40", got)
		}
	})
	t.Run("queries", func(t *testing.T) {
		b := newBook(t, small)
		b.Payload(ask(alice).payload(event.PayloadDNSQuery, queryMsg(t, 7, "bank.example", typeA)))
		for i := range uint16(100) {
			b.Payload(ask(mallory).payload(event.PayloadDNSQuery, queryMsg(t, i, "flood.example", typeA)))
		}
		if got := b.Stats().Pending; got != 6 {
			t.Errorf("pending: got %d, want 6", got)
		}
		if b.lost != 95 {
			t.Errorf("lost: got %d, want 95", b.lost)
		}
		b.Payload(ask(alice).payload(event.PayloadDNSAnswer, answerMsg(t, 7, "bank.example", typeA, addrRR("bank.example", web, 60))))
		b.want(alice, web, "bank.example", event.NameDNS)
	})
}

func TestNormalise(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"Example.COM.", "example.com", true}, {"localhost", "localhost", true}, {"_dmarc.a-b.example", "_dmarc.a-b.example", true},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", true}, {"1.example.2a", "1.example.2a", true},
		{long + ".example", long + ".example", true},
		{"", "", false}, {".", "", false}, {"..", "", false}, {"a..b", "", false}, {".a", "", false}, {"a.b..", "", false},
		{long + "a.example", "", false}, {strings.Repeat(long+".", 4), "", false},
		{"a b.example", "", false}, {"a\x00.example", "", false}, {"a\x1b[31m.example", "", false}, {"bücher.example", "", false},
		{"<script>.example", "", false}, {"192.0.2.1", "", false}, {"1.2.3", "", false}, {"1", "", false}, {"a.0x7F", "", false},
		{"a.0x", "", false}, {"[::1]", "", false}, {"::1", "", false},
	} {
		got, ok := normalise(c.in)
		if got != c.want || ok != c.ok {
			t.Errorf("normalise(%q): got %q, %v, want %q, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}
