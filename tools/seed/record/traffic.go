package record

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/geoip"
)

// traffic makes connections.
type traffic struct {
	rng      *rand.Rand
	programs []program
	rates    *rates
	crowd    *crowd
	internet *internet
	places   *geoip.DB
	rules    *rules
	next     uint64 // ID of the last connection of the run
}

// life is one connection from its beginning to its end.
type life struct {
	event.Connection
	program *program
	end     time.Time
}

// begin makes a connection that begins within the minute at.
func (t *traffic) begin(at time.Time, day int) []life {
	i := t.rates.pick(hourOfWeek(at), t.rng)
	g := &t.programs[i]
	opened := at.Add(time.Duration(t.rng.Int64N(int64(time.Minute))))
	p := t.crowd.process(i, t.rng.IntN(len(g.args)), day)
	if g.in != 0 {
		return []life{t.inbound(g, p, opened)}
	}
	d := t.destination(g)
	var out []life
	if g.resolves && d.name != "" && t.rng.IntN(3) == 0 {
		out = append(out, t.asks(g, p, opened))
	}
	return append(out, t.outbound(g, p, &d, opened))
}

// destination draws one of a program's: the first ones more often.
func (t *traffic) destination(g *program) dest {
	if len(g.dests) == 0 || t.rng.Float64() < g.tail {
		return t.internet.unknown()
	}
	x := t.rng.Float64()
	return g.dests[int(x*x*float64(len(g.dests)))]
}

// new is a connection of which everything is set but the peer.
func (t *traffic) new(g *program, p *event.Process, opened time.Time, direction event.Direction) life {
	t.next++
	c := event.Connection{ID: t.next, Process: p, Opened: opened, Direction: direction, Family: event.AFInet, Proto: event.ProtoTCP,
		Result: event.ResultClosed, NetNS: p.NetNS, UID: p.UID, User: p.User, Cgroup: p.Cgroup}
	seconds := lognormal(t.rng, g.life, 1.1)
	if g.life >= 30 && t.rng.IntN(12) == 0 {
		seconds *= 20 // it stays
	}
	end := opened.Add(time.Duration(min(seconds, 36*3600) * float64(time.Second)))
	c.Last = end
	return life{c, g, end}
}

// asks is the question for a name that comes before a connection.
func (t *traffic) asks(g *program, p *event.Process, opened time.Time) life {
	l := t.new(g, p, opened, event.Out)
	l.Proto, l.Remote = event.ProtoUDP, stub
	l.Local = netip.AddrPortFrom(loop4, t.port())
	l.Sent, l.Received, l.Packets = 60+t.rng.Uint64N(40), 90+t.rng.Uint64N(300), 4
	l.end = opened.Add(time.Duration(2+t.rng.IntN(60)) * time.Millisecond)
	l.Last, l.Result = l.end, event.ResultEstablished
	return l
}

func (t *traffic) outbound(g *program, p *event.Process, d *dest, opened time.Time) life {
	l := t.new(g, p, opened, event.Out)
	addr := t.internet.address(d, t.rng.IntN(5) < 2)
	if d.proto != 0 {
		l.Proto = d.proto
	}
	l.Remote = netip.AddrPortFrom(addr, d.port)
	l.Local = netip.AddrPortFrom(from(addr, g), t.port())
	if d.proto == event.ProtoICMP {
		l.Local = netip.AddrPortFrom(l.Local.Addr(), 0)
	}
	t.named(&l, d, g)
	t.moves(&l, g)
	return l
}

// inbound is a connection that a peer began.
func (t *traffic) inbound(g *program, p *event.Process, opened time.Time) life {
	l := t.new(g, p, opened, event.In)
	peer := t.internet.stranger()
	local := self4
	switch {
	case g.in != 443 && g.in != 22:
		peer, local = pod, pod
	case t.rng.IntN(6) == 0:
		peer = within(t.internet.nets["lan"][0], t.rng.Uint64N(9))
	}
	l.Local, l.Remote = netip.AddrPortFrom(local, g.in), netip.AddrPortFrom(peer, t.port())
	l.Country = t.places.Country(peer)
	t.moves(&l, g)
	if l.Result == event.ResultRefused || l.Result == event.ResultTimeout {
		l.Result = event.ResultReset
	}
	return l
}

// from is the machine's own address that talks to addr.
func from(addr netip.Addr, g *program) netip.Addr {
	switch {
	case addr.IsLoopback():
		return loop4
	case g.container != "":
		return pod
	case addr.Is6():
		return self6
	}
	return self4
}

// port is one that the kernel gives to who begins.
func (t *traffic) port() uint16 { return uint16(32768 + t.rng.IntN(28231)) }

// named sets the family, the country, and what is known of the peer's name.
func (t *traffic) named(l *life, d *dest, g *program) {
	if l.Remote.Addr().Is6() {
		l.Family = event.AFInet6
	}
	l.Country = t.places.Country(l.Remote.Addr())
	if d.name == "" {
		return
	}
	n := event.Name{Domain: d.name, Source: event.NameDNS, At: l.Opened.Add(-time.Duration(t.rng.Int64N(int64(40 * time.Second)))), Trusted: true}
	switch x := t.rng.IntN(20); {
	case d.port == 443 && l.Proto == event.ProtoUDP:
		n.Source, n.Trusted = event.NameQUIC, false
	case x < 12 && g.resolves:
	case x < 15:
		n.Source = event.NameResolved
	case x < 18 && d.port == 443:
		n.Source, n.Trusted = event.NameSNI, false
	case x == 18:
		n.Source, n.Trusted = event.NameReverse, false
	}
	if d.port == 443 && t.rng.IntN(30) == 0 {
		n.SNI = "front." + d.name
	}
	l.Name, l.Names = n, []event.Name{n}
}

// moves sets how far the connection came and what it moved.
func (t *traffic) moves(l *life, g *program) {
	if t.rng.Float64() < g.fails {
		l.Result = []event.Result{event.ResultRefused, event.ResultTimeout, event.ResultUnreachable, event.ResultReset}[t.rng.IntN(4)]
		l.end = l.Opened.Add(time.Duration(t.rng.IntN(3000)) * time.Millisecond)
		l.Last = l.end
		return
	}
	if l.Proto != event.ProtoTCP {
		l.Result = event.ResultEstablished
	}
	l.Sent, l.Received = uint64(lognormal(t.rng, g.up, 1.2)), uint64(lognormal(t.rng, g.down, 1.5))
	l.Packets = 2 + (l.Sent+l.Received)/12000
}

// lognormal is a number around a median; few are far larger.
func lognormal(rng *rand.Rand, median, sigma float64) float64 {
	return min(median*math.Exp(sigma*rng.NormFloat64()), 4e10)
}
