package suite

import (
	"fmt"
	"net/netip"
	"slices"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Mutant is a rule or confine entry with one mistake in it.
type Mutant struct {
	ID     string        // of the rule or confine entry
	Pos    rule.Position // of it
	Change string        // what was done to it: "drop to.port"

	of      kind
	rule    *rule.Rule    // what it became
	confine *rule.Confine // or this; neither: it was removed
}

// kind is what a mutant is one of.
type kind uint8

const (
	ofRule    kind = 1
	ofConfine kind = 2
)

// mutants are the mistakes that a set is tried with, in the order of its rules.
func mutants(set *rule.Set) []Mutant {
	var out []Mutant
	for i := range set.Rules {
		out = append(out, ruleMutants(&set.Rules[i])...)
	}
	for i := range set.Confine {
		out = append(out, confineMutants(&set.Confine[i])...)
	}
	return out
}

func ruleMutants(r *rule.Rule) []Mutant {
	out := []Mutant{{ID: r.ID, Pos: r.Pos, Change: "remove the rule", of: ofRule}}
	add := func(change string, edit func(*rule.Rule)) {
		m := cloneRule(r)
		edit(m)
		out = append(out, Mutant{ID: r.ID, Pos: r.Pos, Change: change, of: ofRule, rule: m})
	}
	other := flipped(r.Action)
	if r.Mode == event.ModeEnforce { // the action of one of mode audit changes no decision
		add(fmt.Sprintf("%s instead of %s", other, r.Action), func(m *rule.Rule) {
			if m.Action = other; other == event.ActionAllow {
				m.Except = nil // an allow rule has none
			}
		})
	}
	if mode := otherMode(r.Mode); r.Action != event.ActionAllow || mode == event.ModeAudit {
		add(fmt.Sprintf("mode %s instead of %s", mode, r.Mode), func(m *rule.Rule) { m.Mode = mode })
	}
	for i := range r.Except {
		add(fmt.Sprintf("drop exception %d", i+1), func(m *rule.Rule) { m.Except = slices.Delete(m.Except, i, i+1) })
	}
	for _, e := range matchEdits(&r.Match) {
		add(e.change, func(m *rule.Rule) { e.apply(&m.Match) })
	}
	return out
}

func confineMutants(c *rule.Confine) []Mutant {
	out := []Mutant{{ID: c.ID, Pos: c.Pos, Change: "remove the confinement", of: ofConfine}}
	add := func(change string, edit func(*rule.Confine)) {
		m := *c
		m.Process, m.Except = cloneProcess(c.Process), slices.Clone(c.Except)
		edit(&m)
		out = append(out, Mutant{ID: c.ID, Pos: c.Pos, Change: change, of: ofConfine, confine: &m})
	}
	mode := otherMode(c.Mode)
	add(fmt.Sprintf("mode %s instead of %s", mode, c.Mode), func(m *rule.Confine) { m.Mode = mode })
	for i := range c.Except {
		add(fmt.Sprintf("drop exception %d", i+1), func(m *rule.Confine) { m.Except = slices.Delete(m.Except, i, i+1) })
	}
	if c.Process != nil {
		for _, e := range processEdits(c.Process, "process") {
			add(e.change, func(m *rule.Confine) { e.apply(m.Process) })
		}
	}
	return out
}

// flipped is the action that an author may have meant instead.
func flipped(a event.Action) event.Action {
	if a == event.ActionAllow {
		return event.ActionDeny
	}
	return event.ActionAllow
}

func otherMode(m event.Mode) event.Mode {
	if m == event.ModeAudit {
		return event.ModeEnforce
	}
	return event.ModeAudit
}

// edit is one mistake in a part of a match.
type edit[T any] struct {
	change string
	apply  func(*T)
}

// matchEdits drop one condition, or widen one item of it.
func matchEdits(m *rule.Match) (out []edit[rule.Match]) {
	if m.Process != nil {
		for _, e := range processEdits(m.Process, "process") {
			out = append(out, edit[rule.Match]{e.change, func(m *rule.Match) { e.apply(m.Process) }})
		}
	}
	ends := []struct {
		path string
		of   func(*rule.Match) *rule.EndpointMatch
	}{{"from", func(m *rule.Match) *rule.EndpointMatch { return m.From }}, {"to", func(m *rule.Match) *rule.EndpointMatch { return m.To }}}
	for _, end := range ends {
		if e := end.of(m); e != nil {
			for _, change := range endEdits(e, end.path) {
				out = append(out, edit[rule.Match]{change.change, func(m *rule.Match) { change.apply(end.of(m)) }})
			}
		}
	}
	if len(m.Direction) > 0 && !impliedDirection(m) {
		out = append(out, edit[rule.Match]{"drop direction", func(m *rule.Match) { m.Direction = nil }})
	}
	if len(m.Novelty) > 0 {
		out = append(out, edit[rule.Match]{"drop novelty", func(m *rule.Match) { m.Novelty = nil }})
	}
	return out
}

// impliedDirection reports whether the direction is the one that the reader fills
// in: nobody wrote it, so nobody's test has to notice that it is gone.
func impliedDirection(m *rule.Match) bool {
	return len(m.Direction) == 1 && (m.To != nil && m.From == nil && m.Direction[0] == event.Out || m.From != nil && m.To == nil && m.Direction[0] == event.In)
}

func processEdits(p *rule.ProcessMatch, path string) (out []edit[rule.ProcessMatch]) {
	drop := func(key string, n int, apply func(*rule.ProcessMatch)) {
		if n > 0 {
			out = append(out, edit[rule.ProcessMatch]{"drop " + path + "." + key, apply})
		}
	}
	drop("exe", len(p.Exe), func(p *rule.ProcessMatch) { p.Exe = nil })
	drop("kind", len(p.Kind), func(p *rule.ProcessMatch) { p.Kind = nil })
	drop("sha256", len(p.SHA256), func(p *rule.ProcessMatch) { p.SHA256 = nil })
	drop("name", len(p.Name), func(p *rule.ProcessMatch) { p.Name = nil })
	drop("script", len(p.Script), func(p *rule.ProcessMatch) { p.Script = nil })
	drop("script_sha256", len(p.ScriptSHA256), func(p *rule.ProcessMatch) { p.ScriptSHA256 = nil })
	drop("cmdline", len(p.Cmdline), func(p *rule.ProcessMatch) { p.Cmdline = nil })
	drop("user", len(p.User), func(p *rule.ProcessMatch) { p.User = nil })
	drop("uid", len(p.UID), func(p *rule.ProcessMatch) { p.UID = nil })
	drop("cgroup", len(p.Cgroup), func(p *rule.ProcessMatch) { p.Cgroup = nil })
	drop("unit", len(p.Unit), func(p *rule.ProcessMatch) { p.Unit = nil })
	drop("container", len(p.Container), func(p *rule.ProcessMatch) { p.Container = nil })
	drop("package", len(p.Package), func(p *rule.ProcessMatch) { p.Package = nil })
	drop("reputation", len(p.Reputation), func(p *rule.ProcessMatch) { p.Reputation = nil })
	above := []struct {
		key string
		of  func(*rule.ProcessMatch) **rule.ProcessMatch
	}{{"parent", func(p *rule.ProcessMatch) **rule.ProcessMatch { return &p.Parent }}, {"ancestor", func(p *rule.ProcessMatch) **rule.ProcessMatch { return &p.Ancestor }}}
	for _, a := range above {
		if inner := *a.of(p); inner != nil {
			drop(a.key, 1, func(p *rule.ProcessMatch) { *a.of(p) = nil })
			for _, e := range processEdits(inner, path+"."+a.key) {
				out = append(out, edit[rule.ProcessMatch]{e.change, func(p *rule.ProcessMatch) { e.apply(*a.of(p)) }})
			}
		}
	}
	return out
}

func endEdits(e *rule.EndpointMatch, path string) (out []edit[rule.EndpointMatch]) {
	drop := func(key string, n int, apply func(*rule.EndpointMatch)) {
		if n > 0 {
			out = append(out, edit[rule.EndpointMatch]{"drop " + path + "." + key, apply})
		}
	}
	drop("host", len(e.Host), func(e *rule.EndpointMatch) { e.Host = nil })
	drop("port", len(e.Port), func(e *rule.EndpointMatch) { e.Port = nil })
	drop("proto", len(e.Proto), func(e *rule.EndpointMatch) { e.Proto = nil })
	drop("scope", len(e.Scope), func(e *rule.EndpointMatch) { e.Scope = nil })
	drop("country", len(e.Country), func(e *rule.EndpointMatch) { e.Country = nil })
	if slices.ContainsFunc(e.Host, func(h rule.Host) bool { return widerHost(h) != h }) {
		out = append(out, edit[rule.EndpointMatch]{"widen " + path + ".host by a label or a bit", func(e *rule.EndpointMatch) { each(e.Host, widerHost) }})
	}
	if slices.ContainsFunc(e.Port, func(p rule.PortRange) bool { return widerPorts(p) != p }) {
		out = append(out, edit[rule.EndpointMatch]{"widen " + path + ".port by one", func(e *rule.EndpointMatch) { each(e.Port, widerPorts) }})
	}
	return out
}

// each changes all items of a list, so that a near miss of any of them kills the
// mutant.
func each[T any](items []T, change func(T) T) {
	for i := range items {
		items[i] = change(items[i])
	}
}

func widerPorts(p rule.PortRange) rule.PortRange {
	return rule.PortRange{First: p.First - min(p.First, 1), Last: p.Last + min(65535-p.Last, 1)}
}

// widerHost is the next larger set of hosts: a name with all below it, a network
// with one bit less.
func widerHost(h rule.Host) rule.Host {
	switch h.Kind {
	case rule.HostName, rule.HostBelow:
		h.Kind = rule.HostSuffix
	case rule.HostNet:
		if h.Net.Bits() > 0 {
			h.Net = netip.PrefixFrom(h.Net.Addr(), h.Net.Bits()-1).Masked()
		}
	case rule.HostInvalid, rule.HostSuffix, rule.HostList:
	}
	return h
}

// cloneRule copies what edits write to.
func cloneRule(r *rule.Rule) *rule.Rule {
	c := *r
	c.Match.Process = cloneProcess(r.Match.Process)
	c.Match.From, c.Match.To = cloneEnd(r.Match.From), cloneEnd(r.Match.To)
	c.Except = slices.Clone(r.Except)
	return &c
}

func cloneProcess(p *rule.ProcessMatch) *rule.ProcessMatch {
	if p == nil {
		return nil
	}
	c := *p
	c.Parent, c.Ancestor = cloneProcess(p.Parent), cloneProcess(p.Ancestor)
	return &c
}

func cloneEnd(e *rule.EndpointMatch) *rule.EndpointMatch {
	if e == nil {
		return nil
	}
	c := *e
	c.Host, c.Port = slices.Clone(e.Host), slices.Clone(e.Port)
	return &c
}
