package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// claimSNI gives the connection a ClientHello without the cost of a real one.
func (b *book) claimSNI(cookie uint64, domain string) {
	p := tlsPayload(cookie, 0, nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claim(&p, hello{name: domain}, event.NameSNI)
}

// resolvedSays is an answer from systemd-resolved.
func (b *book) resolvedSays(domain string, addr netip.Addr) {
	var reply varlinkReply
	reply.Parameters.Question = []resourceKey{{1, 1, domain}}
	reply.Parameters.Answer = []resolvedItem{{Raw: rawRecord(b.t, addrRR(domain, addr, 60))}}
	b.learnResolved(&reply)
}

func TestRanking(t *testing.T) {
	b := newBook(t)
	b.want(alice, web, "", event.NameNone)
	b.mu.Lock()
	b.reversed.put(web, reversed{"reverse.example", b.clock}, b.clock)
	b.mu.Unlock()
	b.want(alice, web, "reverse.example", event.NameReverse)
	b.claimSNI(1, "sni.example")
	b.want(alice, web, "sni.example", event.NameSNI)
	b.learn(ask(mallory), "other.example", 60, web.String())
	b.want(alice, web, "other.example", event.NameDNSOther)
	b.mu.Lock()
	b.hosts = parseHosts([]byte(web.String() + " hosts.example\n"))
	b.mu.Unlock()
	b.want(alice, web, "hosts.example", event.NameHosts)
	b.resolvedSays("resolved.example", web)
	b.want(alice, web, "resolved.example", event.NameResolved)
	b.learn(ask(alice), "own.example", 60, web.String())
	b.want(alice, web, "own.example", event.NameDNS)
	if got := b.lookup(alice, 1, web).SNI; got != "sni.example" {
		t.Errorf("claim beside the name: got %q, want sni.example", got)
	}
	var order []string
	for _, e := range b.Candidates(alice, 1, event.ProtoTCP, web, b.clock) {
		order = append(order, e.Domain)
	}
	want := []string{"own.example", "resolved.example", "hosts.example", "own.example", "other.example", "sni.example", "reverse.example"}
	if !slices.Equal(order, want) {
		t.Errorf("candidates: got %v, want %v", order, want)
	}
}

func TestClaimChoosesAmongNamesOfTheAddress(t *testing.T) {
	b := newBook(t)
	for _, d := range []string{"a.example", "b.example", "c.example"} {
		b.learn(ask(alice), d, 60, web.String())
		b.pass(time.Second)
	}
	b.want(alice, web, "c.example", event.NameDNS) // the last one asked for
	b.claimSNI(1, "a.example")
	b.want(alice, web, "a.example", event.NameDNS)
	if got := b.lookup(alice, 1, web).SNI; got != "" {
		t.Errorf("claim: got %q, want none since it equals the name", got)
	}
	b.claimSNI(1, "evil.example")
	b.want(alice, web, "c.example", event.NameDNS)
	if got := b.lookup(alice, 1, web).SNI; got != "evil.example" {
		t.Errorf("claim: got %q, want evil.example", got)
	}
	if got := b.lookup(alice, 2, web).SNI; got != "" {
		t.Errorf("claim of another connection: got %q, want none", got)
	}
}

func TestNamesLearnedAfterTheConnection(t *testing.T) {
	b := newBook(t)
	began := b.clock
	b.pass(time.Minute)
	b.learn(ask(alice), "late.example", 60, web.String())
	e := b.Candidates(alice, 1, event.ProtoTCP, web, began)
	if len(e) != 2 || !e[0].Late || e[0].Valid || e[0].Domain != "late.example" {
		t.Fatalf("got %+v, want the name, late and not valid", e)
	}
	b.claimSNI(1, "sni.example")
	if got := b.Lookup(alice, 1, event.ProtoTCP, web, began); got.Source != event.NameSNI {
		t.Errorf("got %q from %q, want the claim to stand before a late name", got.Domain, got.Source)
	}
	b.want(alice, web, "late.example", event.NameDNS) // a connection that begins now
}

func TestChangedTellsOfLateNames(t *testing.T) {
	b := newBook(t)
	other := netip.MustParseAddr("203.0.113.77")
	b.want(alice, web, "", event.NameNone)
	if got := b.lookup(alice, 2, other); got.Source != event.NameNone {
		t.Fatalf("got %+v, want none", got)
	}
	if got := b.Changed(); got != nil {
		t.Errorf("nothing happened: got %v", got)
	}
	b.resolvedSays("resolved.example", web)
	if got := b.Changed(); !slices.Equal(got, []uint64{1}) {
		t.Errorf("after resolved: got %v, want [1]", got)
	}
	b.resolvedSays("resolved.example", web)
	if got := b.Changed(); got != nil {
		t.Errorf("the same again: got %v, want none", got)
	}
	b.claimSNI(2, "sni.example")
	if got := b.Changed(); !slices.Equal(got, []uint64{2}) {
		t.Errorf("after the claim: got %v, want [2]", got)
	}
	b.pass(watchLife + time.Second)
	b.Expire(b.clock)
	old := netip.MustParseAddr("203.0.113.78")
	b.Lookup(alice, 3, event.ProtoTCP, old, b.clock.Add(-watchLife)) // too old to be watched
	b.learn(ask(alice), "own.example", 60, web.String(), old.String())
	if got := b.Changed(); got != nil {
		t.Errorf("long after the beginning: got %v, want none", got)
	}
}

func TestWatchersAreBounded(t *testing.T) {
	b := newBook(t, func(l *limits) { l.watched, l.watchers, l.changed, l.claims = 4, 3, 5, 6 })
	for i := range uint64(50) {
		b.lookup(alice, i, web)
		b.lookup(alice, i, netip.AddrFrom4([4]byte{198, 18, 0, byte(i)}))
		b.claimSNI(i, "sni.example")
	}
	if b.watches.len() > 4 || len(b.changed) > 5 || b.claims.len() > 6 {
		t.Errorf("got %d watched, %d changed, %d claims", b.watches.len(), len(b.changed), b.claims.len())
	}
	for i := b.watches.root.next; i != &b.watches.root; i = i.next {
		if len(i.value) > 3 {
			t.Errorf("watchers of %s: got %d, want at most 3", i.key, len(i.value))
		}
	}
	if b.lost == 0 {
		t.Error("lost: got 0, want > 0")
	}
}

func TestClosedForgetsTheClaim(t *testing.T) {
	b := newBook(t)
	b.claimSNI(1, "sni.example")
	b.Closed(1, event.ProtoTCP, web)
	b.want(alice, web, "", event.NameNone)
	if got := b.Changed(); got != nil {
		t.Errorf("changed: got %v, want none", got)
	}
}

func TestMappedAddressesAreOne(t *testing.T) {
	b := newBook(t)
	b.learn(ask(alice), "v4.example", 60, web.String())
	b.want(alice, netip.AddrFrom16(web.As16()), "v4.example", event.NameDNS)
	x := ask(mallory)
	x.server = netip.AddrPortFrom(netip.AddrFrom16(resolver.Addr().As16()), 53)
	b.learn(x, "mapped.example", 60, web.String())
	if e := b.Candidates(mallory, 1, event.ProtoTCP, web, b.clock)[0]; !e.Configured || e.Server != resolver.Addr() {
		t.Errorf("got %+v, want the configured server, unmapped", e)
	}
}

func TestWallClockOfTheKernel(t *testing.T) {
	b := newBook(t)
	boot := b.clock.Add(-time.Hour)
	b.wallOf = func(ns uint64) time.Time { return boot.Add(time.Duration(ns)) }
	x := ask(alice)
	p := x.payload(event.PayloadDNSAnswer, answerMsg(t, 7, "own.example", typeA, addrRR("own.example", web, 60)))
	p.Boot = uint64(59 * time.Minute)
	b.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, 7, "own.example", typeA)))
	b.Payload(p)
	if got, want := b.lookup(alice, 1, web).At, b.clock.Add(-time.Minute); !got.Equal(want) {
		t.Errorf("learned at: got %s, want %s", got, want)
	}
}

func TestDelayOfThePayloadIsTakenOff(t *testing.T) {
	b := newBook(t)
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	for boot, want := range map[uint64]time.Duration{
		uint64(ts.Nano()) - uint64(10*time.Second): 10 * time.Second,
		uint64(ts.Nano()) + uint64(time.Hour):      0,
		0:                                          0,
		1 << 63:                                    0,
	} {
		if got := b.clock.Sub(b.wall(boot)); got < want || got > want+time.Second {
			t.Errorf("delay of %d: got %s, want %s", boot, got, want)
		}
	}
}

func child(n uint32) event.ProcessID {
	return event.ProcessID{PID: 200 + n, Exec: alice.Exec, Start: 3000 + uint64(n)}
}

func TestForkInheritsWhatThereWas(t *testing.T) {
	b := newBook(t)
	before, after := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	b.resolvers = resolvers{} // no dns-other, to see what is inherited alone
	b.learn(ask(alice), "before.example", 60, before.String())
	b.Fork(child(1), alice)
	b.Fork(child(2), child(1))
	b.learn(ask(alice), "after.example", 60, after.String())
	b.learn(ask(child(1)), "child.example", 60, after.String())
	b.want(child(1), before, "before.example", event.NameDNS)
	b.want(child(2), before, "before.example", event.NameDNS)
	b.want(child(1), after, "child.example", event.NameDNS)
	b.want(child(2), after, "", event.NameNone)
	b.want(alice, after, "after.example", event.NameDNS)
	b.learn(ask(alice), "before.example", 60, before.String()) // renewed: still the one that was inherited
	b.want(child(1), before, "before.example", event.NameDNS)
	b.want(mallory, before, "", event.NameNone)
}

func TestParentMayEndFirst(t *testing.T) {
	b := newBook(t)
	b.resolvers = resolvers{}
	b.learn(ask(alice), "daemon.example", 7200, web.String())
	b.Fork(child(1), alice)
	b.Exit(alice)
	b.pass(10 * exitGrace)
	b.Expire(b.clock)
	b.want(child(1), web, "daemon.example", event.NameDNS)
	b.Exit(child(1))
	b.want(child(1), web, "daemon.example", event.NameDNS) // its last flows are drained later
	b.pass(2 * exitGrace)
	b.Expire(b.clock)
	b.want(child(1), web, "", event.NameNone)
	b.want(alice, web, "", event.NameNone)
	if s := b.Stats(); s.Processes != 0 || s.Addresses != 0 || len(b.nodes) != 0 {
		t.Errorf("left behind: %d processes, %d addresses, %d nodes", s.Processes, s.Addresses, len(b.nodes))
	}
}

func TestExecStartsWithoutNames(t *testing.T) {
	b := newBook(t)
	image := event.ProcessID{PID: alice.PID, Exec: alice.Exec + 1, Start: alice.Start}
	b.learn(ask(alice), "old.example", 60, web.String())
	b.Exec(alice, image)
	b.want(image, web, "old.example", event.NameDNSOther)
	b.resolvers = resolvers{}
	b.pass(2 * exitGrace)
	b.Expire(b.clock)
	b.want(alice, web, "old.example", event.NameDNSOther) // gone as its own
}

func TestLineageIsBounded(t *testing.T) {
	b := newBook(t, func(l *limits) { l.nodes = 20 })
	b.learn(ask(alice), "bomb.example", 60, web.String())
	for i := range uint32(1000) {
		b.Fork(child(i), alice)
		b.Fork(child(i), alice)
	}
	if len(b.nodes) > 20 {
		t.Errorf("nodes: got %d, want at most 20", len(b.nodes))
	}
	b.want(child(3), web, "bomb.example", event.NameDNS)
	// exits that were never told: all is gone once the names are
	b.pass(2*factGrace + time.Hour)
	b.Expire(b.clock)
	b.Expire(b.clock)
	if len(b.nodes) != 0 || b.table.addrs != 0 || b.table.scopes.len() != 0 {
		t.Errorf("left behind: %d nodes, %d addresses, %d scopes", len(b.nodes), b.table.addrs, b.table.scopes.len())
	}
}

// TestTableCount: the count of addresses is that of the entries, whatever happens.
func TestTableCount(t *testing.T) {
	b := newBook(t, func(l *limits) { l.names, l.processAddrs, l.hostAddrs, l.addrs, l.scopes = 2, 5, 7, 30, 9 })
	for i := range uint32(500) {
		id := event.ProcessID{PID: i % 17, Start: 1}
		b.learn(ask(id), fmt.Sprintf("n%d.example", i%5), i%90, fmt.Sprintf("198.18.0.%d", i%23))
		switch i % 31 {
		case 7:
			b.Exit(id)
		case 20:
			b.pass(factGrace / 3)
			b.Expire(b.clock)
		}
		count := 0
		for s := b.table.scopes.root.next; s != &b.table.scopes.root; s = s.next {
			count += s.value.len()
		}
		if count != b.table.addrs || count > 30 {
			t.Fatalf("step %d: counted %d, table says %d, want equal and at most 30", i, count, b.table.addrs)
		}
	}
}

func TestQueryTypesThatGiveNoName(t *testing.T) {
	for _, typ := range []dnsmessage.Type{dnsmessage.TypeTXT, dnsmessage.TypeMX, dnsmessage.TypePTR} {
		b, x := newBook(t), ask(alice)
		b.Payload(x.payload(event.PayloadDNSQuery, queryMsg(t, 7, "example.com", typ)))
		b.Payload(x.payload(event.PayloadDNSAnswer, answerMsg(t, 7, "example.com", typ, addrRR("example.com", web, 60))))
		b.want(alice, web, "", event.NameNone)
	}
}
