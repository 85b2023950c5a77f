package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"snitch/policy/rule"
)

// alternative is one way in which a match can hold: all expressions, and no
// cgroup of the socket at level deeper, unless that is 0.
type alternative struct {
	exprs  []expr.Any
	deeper int
}

func always() []alternative { return []alternative{{}} }

// both is every pair of an alternative of a and one of b. At most one side asks
// for deeper: only processes do.
func both(a, b []alternative) []alternative {
	var out []alternative
	for _, x := range a {
		for _, y := range b {
			out = append(out, alternative{join(x.exprs, y.exprs), max(x.deeper, y.deeper)})
		}
	}
	return out
}

// match is how m can hold in a view. What the view does not know counts as held
// if over, as failed else: so denials err towards allow there, and what is
// spared by an allow or an exception is spared.
func (c *compiler) match(m *rule.Match, v view, over bool) []alternative {
	if len(m.Direction) > 0 && !slices.Contains(m.Direction, v.direction) {
		return nil
	}
	ends := c.ends(m.To, m.From, v)
	if len(ends) == 0 {
		return nil
	}
	return both(ends, c.process(m.Process, v, over))
}

// fact decides what becomes of a condition on a fact that a view knows so well.
func fact(k known, over bool, build func() []alternative) []alternative {
	switch {
	case k == sure:
		return build()
	case k == unknown && over:
		return always()
	}
	return nil
}

func (c *compiler) process(p *rule.ProcessMatch, v view, over bool) []alternative {
	out := always()
	if p == nil {
		return out
	}
	if len(p.Kind) > 0 {
		out = both(out, fact(v.kernel, over, always))
	}
	if len(p.UID) > 0 {
		out = both(out, fact(v.uid, over, func() []alternative { return c.uids(p.UID) }))
	}
	if len(p.User) > 0 {
		out = both(out, fact(v.uid, over, func() []alternative { return c.uids(c.users(p.User)) }))
	}
	if len(p.Cgroup) > 0 {
		out = both(out, fact(v.cgroup, over, func() []alternative { return c.cgroupsOf(p.Cgroup) }))
	}
	return out
}

func (c *compiler) uids(ranges []rule.UIDRange) []alternative {
	if len(ranges) == 0 {
		return nil
	}
	var in []interval
	for _, r := range ranges {
		in = append(in, uidInterval(r.First, r.Last))
	}
	return []alternative{{exprs: append(uid(), lookup(c.setNamed("uid", nftables.TypeUID, in), false))}}
}

// users are the numbers of accounts. One that went away since the check simply
// matches nobody.
func (c *compiler) users(names []string) []rule.UIDRange {
	var out []rule.UIDRange
	for _, name := range names {
		if id, err := userID(name); err == nil {
			out = append(out, rule.UIDRange{First: id, Last: id})
		}
	}
	return out
}

func (c *compiler) cgroupsOf(patterns []rule.Pattern) []alternative {
	c.cgroups = true
	var out []alternative
	for _, p := range patterns {
		path, below, ok := cgroupPattern(p)
		if !ok {
			continue
		}
		if below && path == "" {
			out = append(out, alternative{exprs: cgroupAt(0, expr.CmpOpNeq, 0)})
			continue
		}
		level := cgroupLevel(path)
		id := c.cgroupID(path)
		switch {
		case id == 0:
		case below:
			out = append(out, alternative{exprs: join(cgroupAt(level+1, expr.CmpOpNeq, 0), cgroupAt(level, expr.CmpOpEq, id))})
		default:
			out = append(out, alternative{exprs: cgroupAt(level, expr.CmpOpEq, id), deeper: level + 1})
		}
	}
	return out
}

// ends is how both ends can match: without addresses at once, else once for each
// family that has some.
func (c *compiler) ends(to, from *rule.EndpointMatch, v view) []alternative {
	common, ok := c.ports(to, from, v)
	if !ok {
		return nil
	}
	wantTo, wantFrom := c.addresses(to), c.addresses(from)
	if wantTo == nil && wantFrom == nil {
		return []alternative{{exprs: common}}
	}
	var out []alternative
	for _, f := range []byte{byte(nftables.TableFamilyIPv4), byte(nftables.TableFamilyIPv6)} {
		a, okTo := c.address(wantTo, f, !v.swap)
		b, okFrom := c.address(wantFrom, f, v.swap)
		if okTo && okFrom {
			out = append(out, alternative{exprs: join(family(f), a, b, common)})
		}
	}
	return out
}

// ports is protocol and ports, false if no packet can have both.
func (c *compiler) ports(to, from *rule.EndpointMatch, v view) ([]expr.Any, bool) {
	var protos []byte // nil: any
	limit := func(names []string) {
		var set []byte
		for _, n := range names {
			if p, ok := protocols()[n]; ok && (protos == nil || slices.Contains(protos, p)) {
				set = append(set, p)
			}
		}
		protos = append([]byte{}, set...)
	}
	var ends [2][]rule.PortRange // to, from
	for i, e := range []*rule.EndpointMatch{to, from} {
		if e == nil {
			continue
		}
		if len(e.Proto) > 0 {
			limit(e.Proto)
		}
		ends[i] = e.Port
	}
	if len(ends[0])+len(ends[1]) > 0 {
		protos = slices.DeleteFunc(withPorts(), func(p byte) bool { return protos != nil && !slices.Contains(protos, p) })
	}
	if protos != nil && len(protos) == 0 {
		return nil, false
	}
	out := c.protos(protos)
	out = append(out, c.port(ends[0], !v.swap)...)
	return append(out, c.port(ends[1], v.swap)...), true
}

func (c *compiler) protos(protos []byte) []expr.Any {
	switch len(protos) {
	case 0:
		return nil
	case 1:
		return l4proto(protos[0])
	}
	var in []interval
	for _, p := range protos {
		in = append(in, interval{string([]byte{p}), string([]byte{p})})
	}
	return only(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, lookup(c.setNamed("proto", nftables.TypeInetProto, in), false))
}

// port matches the packet's destination port or its source port.
func (c *compiler) port(ranges []rule.PortRange, destination bool) []expr.Any {
	if len(ranges) == 0 {
		return nil
	}
	offset := uint32(0)
	if destination {
		offset = 2
	}
	var in []interval
	for _, r := range ranges {
		in = append(in, portInterval(r.First, r.Last))
	}
	return only(payload(expr.PayloadBaseTransportHeader, offset, 2), lookup(c.setNamed("port", nftables.TypeInetService, in), false))
}

// nets are conditions on one address, each a union of networks or what is
// outside of it.
type nets struct {
	in     []netip.Prefix
	invert bool
}

// addresses is nil when e asks for no address.
func (c *compiler) addresses(e *rule.EndpointMatch) []nets {
	if e == nil {
		return nil
	}
	var out []nets
	if len(e.Host) > 0 {
		var in []netip.Prefix
		for _, h := range e.Host {
			switch h.Kind {
			case rule.HostNet:
				in = append(in, h.Net)
			case rule.HostList:
				in = slices.AppendSeq(in, c.set.Lists[h.Name].Nets())
			case rule.HostInvalid, rule.HostName, rule.HostBelow, rule.HostSuffix:
			}
		}
		out = append(out, nets{in: in})
	}
	if len(e.Scope) > 0 {
		out = append(out, scope(e.Scope))
	}
	return out
}

// address matches the packet's destination or source in one family, false if it
// never can.
func (c *compiler) address(want []nets, f byte, destination bool) ([]expr.Any, bool) {
	var out []expr.Any
	for _, n := range want {
		var in []interval
		for _, p := range n.in {
			if p.Addr().Is4() == (f == byte(nftables.TableFamilyIPv4)) {
				in = append(in, prefixInterval(p))
			}
		}
		if len(in) == 0 && n.invert {
			continue
		}
		if len(in) == 0 {
			return nil, false
		}
		load, kind, prefix := loadAddress(f, destination)
		out = append(out, load, lookup(c.setNamed(prefix, kind, in), n.invert))
	}
	return out, true
}

func loadAddress(f byte, destination bool) (load expr.Any, kind nftables.SetDatatype, prefix string) {
	v4 := f == byte(nftables.TableFamilyIPv4)
	offset, length := uint32(sourceV6), uint32(16)
	switch {
	case v4 && destination:
		offset, length = targetV4, 4
	case v4:
		offset, length = sourceV4, 4
	case destination:
		offset = targetV6
	}
	load = payload(expr.PayloadBaseNetworkHeader, offset, length)
	if v4 {
		return load, nftables.TypeIPAddr, "net4_"
	}
	return load, nftables.TypeIP6Addr, "net6_"
}

// scope is the networks of scopes as rule.ScopeOf draws them. The internet is
// what lies outside the others.
func scope(scopes []rule.Scope) nets {
	near := map[rule.Scope][]string{
		rule.ScopeLoopback: {"127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128"},
		rule.ScopeLAN: {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "224.0.0.0/4",
			"255.255.255.255/32", "fc00::/7", "fe80::/10", "ff00::/8"},
	}
	out := nets{invert: slices.Contains(scopes, rule.ScopeInternet)}
	for _, s := range []rule.Scope{rule.ScopeLoopback, rule.ScopeLAN} {
		if slices.Contains(scopes, s) == out.invert {
			continue
		}
		for _, p := range near[s] {
			out.in = append(out.in, netip.MustParsePrefix(p))
		}
	}
	return out
}
