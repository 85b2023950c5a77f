package ruletest

import (
	"net/netip"
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Facts makes facts for a set. Half of them were made to match one of its
// rules, exceptions or confine entries; of these again half had one or two
// facts changed or removed.
func (g *Gen) Facts(s *rule.Set) rule.Facts {
	f := g.AnyFacts()
	if g.chance(2) {
		return f
	}
	g.satisfyOne(s, &f)
	for g.chance(2) {
		g.spoil(&f)
	}
	return f
}

// AnyFacts makes facts without regard to rules.
func (g *Gen) AnyFacts() rule.Facts {
	f := rule.Facts{Process: g.Subject(), Direction: pick(g, directions), Proto: pick(g, protos)}
	for len(f.Ancestors) < 3 && !g.chance(3) {
		f.Ancestors = append(f.Ancestors, g.Subject())
	}
	f.From, f.To = g.ends(f.Direction, f.Proto)
	for _, n := range []rule.Novelty{rule.NoveltyProgram, rule.NoveltyHash, rule.NoveltyParent, rule.NoveltyDestination, rule.NoveltyListener} {
		if g.chance(6) {
			f.Novelty = append(f.Novelty, n)
		}
	}
	return f
}

// ends makes the two ends as the engine fills them: the peer has names and a
// country, a listener has only a local end, a packet socket no address.
func (g *Gen) ends(d event.Direction, proto string) (from, to rule.Endpoint) {
	local, peer := g.endpoint(proto), g.endpoint(proto)
	if peer.Addr.IsValid() {
		for len(peer.Names) < 2 && g.chance(2) {
			peer.Names = append(peer.Names, g.name(pick(g, names)))
		}
		if g.chance(2) {
			peer.Country = pick(g, countries)
		}
	}
	switch d {
	case event.Listen:
		return rule.Endpoint{}, local
	case event.In:
		return peer, local
	default:
		return local, peer
	}
}

func (g *Gen) endpoint(proto string) rule.Endpoint {
	var e rule.Endpoint
	if proto != "packet" {
		e.Addr = pick(g, addrs)
	}
	if slices.Contains([]string{"tcp", "udp", "sctp"}, proto) {
		e.Port, e.HasPort = pick(g, ports), true
	}
	return e
}

func (g *Gen) name(domain string) rule.Name {
	sources := []rule.Name{{Source: 1, Trusted: true}, {Source: 1}, {Source: 3}, {Source: 7, Trusted: true}}
	n := pick(g, sources)
	n.Domain = domain
	return n
}

// Subject makes a process of which some facts are unknown.
func (g *Gen) Subject() rule.Subject {
	s := rule.Subject{
		Exe: maybe(g, exes), Kind: pick(g, kinds[:1+g.r.IntN(len(kinds))]), SHA256: maybe(g, digests), Name: maybe(g, words),
		Script: maybe(g, scripts), Cmdline: maybe(g, cmdlines), User: maybe(g, users), Cgroup: maybe(g, cgroups),
		Unit: maybe(g, units), Container: maybe(g, containers), Package: maybe(g, packages), Reputation: maybe(g, event.Reputations()),
	}
	if s.Script != rule.None {
		s.ScriptSHA256 = maybe(g, digests)
	}
	if g.chance(2) {
		s.UID, s.HasUID = pick(g, uids), true
	}
	return s
}

// maybe picks a value or none.
func maybe[T any](g *Gen, of []T) (v T) {
	if g.chance(4) {
		return v
	}
	return pick(g, of)
}

// spoil changes or removes one fact.
func (g *Gen) spoil(f *rule.Facts) {
	other, s := g.Subject(), &f.Process
	if len(f.Ancestors) > 0 && g.chance(3) {
		s = &f.Ancestors[g.r.IntN(len(f.Ancestors))]
	}
	end := &f.To
	if g.chance(3) {
		end = &f.From
	}
	changes := []func(){
		func() { s.Exe = other.Exe }, func() { s.Kind = other.Kind }, func() { s.SHA256 = other.SHA256 }, func() { s.Name = other.Name },
		func() { s.Script = other.Script }, func() { s.ScriptSHA256 = other.ScriptSHA256 }, func() { s.Cmdline = other.Cmdline },
		func() { s.User = other.User }, func() { s.UID, s.HasUID = other.UID, other.HasUID }, func() { s.Cgroup = other.Cgroup },
		func() { s.Unit = other.Unit }, func() { s.Container = other.Container }, func() { s.Package = other.Package }, func() { s.Reputation = other.Reputation },
		func() { f.Ancestors = nil }, func() { f.Novelty = nil }, func() { f.Direction = pick(g, directions) },
		func() { f.Proto = pick(g, protos) }, func() { end.Addr = pick(g, addrs) }, func() { end.Names = nil },
		func() { end.Port, end.HasPort = 0, false }, func() { end.Port, end.HasPort = pick(g, ports), true }, func() { end.Country = "" },
		func() {
			end.Names = slices.Clone(end.Names)
			for i := range end.Names {
				end.Names[i].Trusted = false
			}
		},
	}
	pick(g, changes)()
}

// witness is a text that p matches.
func (g *Gen) witness(p rule.Pattern, of []string) string {
	var fit []string
	for _, s := range of {
		if p.Match(s) {
			fit = append(fit, s)
		}
	}
	if len(fit) > 0 && !g.chance(4) {
		return pick(g, fit)
	}
	text := strings.ReplaceAll(p.Text, "**", pick(g, []string{"", "x", "x/y"}))
	return strings.ReplaceAll(text, "*", pick(g, []string{"", "x"}))
}

// addrIn is an address of a network: its first, its last or the one behind.
func (g *Gen) addrIn(p netip.Prefix) netip.Addr {
	last := p.Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	candidates := []netip.Addr{p.Addr(), end}
	if next := end.Next(); next.IsValid() {
		candidates = append(candidates, next)
	}
	return pick(g, candidates)
}
