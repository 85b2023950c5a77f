package ruletest

import (
	"snitch/monitor/event"
	"snitch/policy/rule"
)

// satisfyOne changes f so that it matches something of s, if s has anything.
func (g *Gen) satisfyOne(s *rule.Set, f *rule.Facts) {
	n := g.r.IntN(len(s.Rules) + len(s.Confine) + 1)
	switch {
	case n < len(s.Rules):
		g.Satisfy(s, s.Rules[n].Match, f)
		if ex := s.Rules[n].Except; len(ex) > 0 && g.chance(2) {
			g.Satisfy(s, pick(g, ex), f)
		}
	case n < len(s.Rules)+len(s.Confine):
		c := s.Confine[n-len(s.Rules)]
		if c.Process != nil {
			g.subject(*c.Process, &f.Process, &f.Ancestors)
		}
	}
}

// Satisfy changes f so that it matches m, as far as facts are independent of
// each other (a port range whose edge is nearly missed stays missed).
func (g *Gen) Satisfy(s *rule.Set, m rule.Match, f *rule.Facts) {
	if m.Process != nil {
		g.subject(*m.Process, &f.Process, &f.Ancestors)
	}
	if len(m.Direction) > 0 && f.Direction != m.Direction[0] {
		f.Direction = pick(g, m.Direction)
		f.From, f.To = g.ends(f.Direction, f.Proto)
	}
	if len(m.Novelty) > 0 {
		f.Novelty = []rule.Novelty{pick(g, m.Novelty)}
	}
	if m.From != nil {
		g.end(s, *m.From, &f.From, f, f.Direction == event.In)
	}
	if m.To != nil {
		g.end(s, *m.To, &f.To, f, f.Direction == event.Out)
	}
}

func (g *Gen) subject(p rule.ProcessMatch, s *rule.Subject, above *[]rule.Subject) {
	text := func(patterns []rule.Pattern, values []string, fact *string) {
		if len(patterns) > 0 {
			*fact = g.witness(pick(g, patterns), values)
		}
	}
	text(p.Exe, exes, &s.Exe)
	text(p.Name, words, &s.Name)
	text(p.Script, scripts, &s.Script)
	text(p.Cmdline, cmdlines, &s.Cmdline)
	text(p.Cgroup, cgroups, &s.Cgroup)
	text(p.Unit, units, &s.Unit)
	text(p.Container, containers, &s.Container)
	text(p.Package, packages, &s.Package)
	if len(p.Exe) > 0 && !g.chance(4) {
		s.Kind = event.ExecutableFile
	}
	if len(p.Kind) > 0 {
		s.Kind = pick(g, p.Kind)
	}
	if len(p.SHA256) > 0 {
		s.SHA256 = pick(g, p.SHA256)
	}
	if len(p.ScriptSHA256) > 0 {
		s.ScriptSHA256 = pick(g, p.ScriptSHA256)
	}
	if len(p.Reputation) > 0 {
		s.Reputation = pick(g, p.Reputation)
	}
	if len(p.User) > 0 {
		s.User = pick(g, p.User)
	}
	if len(p.UID) > 0 {
		u := pick(g, p.UID)
		s.UID, s.HasUID = pick(g, []uint32{u.First, u.Last, u.Last + 1, u.First - 1}), true
	}
	g.above(p, above)
}

// above satisfies the conditions on parent and ancestor.
func (g *Gen) above(p rule.ProcessMatch, above *[]rule.Subject) {
	if p.Parent != nil {
		if len(*above) == 0 {
			*above = []rule.Subject{g.Subject()}
		}
		rest := (*above)[1:]
		g.subject(*p.Parent, &(*above)[0], &rest)
		*above = append((*above)[:1:1], rest...)
	}
	if p.Ancestor != nil {
		for len(*above) < 2 {
			*above = append(*above, g.Subject())
		}
		i := g.r.IntN(len(*above))
		rest := (*above)[i+1:]
		g.subject(*p.Ancestor, &(*above)[i], &rest)
		*above = append((*above)[:i+1:i+1], rest...)
	}
}

func (g *Gen) end(s *rule.Set, m rule.EndpointMatch, e *rule.Endpoint, f *rule.Facts, peer bool) {
	if len(m.Proto) > 0 {
		f.Proto = pick(g, m.Proto)
	}
	if len(m.Port) > 0 {
		p := pick(g, m.Port)
		e.Port, e.HasPort = pick(g, []uint16{p.First, p.Last, p.Last + 1, p.First - 1}), true
	}
	if len(m.Country) > 0 && peer {
		e.Country = pick(g, m.Country)
	}
	for _, a := range addrs {
		if len(m.Scope) > 0 && rule.ScopeOf(a) == m.Scope[0] && g.chance(2) {
			e.Addr = a
		}
	}
	if len(m.Host) > 0 {
		g.host(s, pick(g, m.Host), e, peer)
	}
}

func (g *Gen) host(s *rule.Set, h rule.Host, e *rule.Endpoint, peer bool) {
	if h.Kind == rule.HostList {
		l := s.Lists[h.Name]
		var items []rule.Host
		for n := range l.Names() {
			items = append(items, n)
		}
		for n := range l.Nets() {
			items = append(items, rule.Host{Kind: rule.HostNet, Net: n})
		}
		if len(items) == 0 {
			return
		}
		h = pick(g, items)
	}
	if h.Kind == rule.HostNet {
		e.Addr = g.addrIn(h.Net)
		return
	}
	if !peer {
		return
	}
	domain := pick(g, []string{h.Name, "a." + h.Name, "b.a." + h.Name, "x" + h.Name})
	e.Names = append([]rule.Name{g.name(domain)}, e.Names[:min(1, len(e.Names))]...)
}
