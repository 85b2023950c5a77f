package nft

import (
	"fmt"
	"slices"
	"strings"

	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

// RefusedError says that rules ask for what packets do not show. Nothing was
// changed in the kernel.
type RefusedError struct{ Rules []enforce.Unheld }

// Error is one line for each key, as compilers print theirs.
func (e *RefusedError) Error() string {
	lines := make([]string, len(e.Rules))
	for i, u := range e.Rules {
		lines[i] = fmt.Sprintf("%s: rule %s: %s", u.Pos, u.Rule, u.Reason)
	}
	return "the nft backend cannot honour these rules; use --backend cgroup, or change them:\n" + strings.Join(lines, "\n")
}

// Refused are the enforced rules of set that this backend cannot honour, one
// for each key. Alert rules deny nothing: those that it cannot count are told
// by Limits, and user space decides them all the same.
func Refused(set *rule.Set) []enforce.Unheld {
	var out []enforce.Unheld
	each(set, func(c *checker, alert bool) {
		if !alert {
			out = append(out, c.refused...)
		}
	})
	for _, m := range set.Modules {
		if !m.Test {
			out = append(out, enforce.Unheld{Rule: "custom", Pos: rule.Position{File: m.File, Line: 1, Col: 1}, Reason: "custom Rego: packets do not wait for user space here"})
		}
	}
	return out
}

// Limits are the rules of set that hold in part only, or that are not counted.
func Limits(set *rule.Set) []enforce.Unheld {
	var out []enforce.Unheld
	each(set, func(c *checker, alert bool) {
		out = append(out, c.limits...)
		if alert && len(c.refused) > 0 {
			first := c.refused[0]
			first.Reason = "not counted by the table: " + first.Reason
			out = append(out, first)
		}
	})
	return out
}

// each checks every rule that votes and every confine entry.
func each(set *rule.Set, report func(c *checker, alert bool)) {
	for i := range set.Rules {
		r := &set.Rules[i]
		if r.Mode != event.ModeEnforce {
			continue
		}
		c := &checker{set: set, id: r.ID, at: r.At}
		c.match("", &r.Match)
		for j := range r.Except {
			c.match(fmt.Sprintf("except[%d].", j), &r.Except[j])
		}
		c.direction(r)
		report(c, r.Action == event.ActionAlert)
	}
	for i := range set.Confine {
		e := &set.Confine[i]
		if e.Mode != event.ModeEnforce {
			continue
		}
		c := &checker{set: set, id: e.ID, at: func(string) rule.Position { return e.Pos }}
		c.process("process", e.Process)
		for j := range e.Except {
			c.process(fmt.Sprintf("except[%d].process", j), &e.Except[j])
		}
		if byUser(e.Process) {
			c.limit("process", "incoming datagrams reach the program, whose user the packet does not show; no answer leaves")
		}
		report(c, false)
	}
}

// checker collects what of one rule cannot be honoured.
type checker struct {
	set             *rule.Set
	id              string
	at              func(path string) rule.Position
	refused, limits []enforce.Unheld
}

func (c *checker) refuse(key, why string) {
	c.refused = append(c.refused, enforce.Unheld{Rule: c.id, Pos: c.at(key), Reason: key + ": " + why})
}

func (c *checker) limit(key, why string) {
	c.limits = append(c.limits, enforce.Unheld{Rule: c.id, Pos: c.at(key), Reason: key + ": " + why})
}

func (c *checker) match(prefix string, m *rule.Match) {
	c.process(prefix+"process", m.Process)
	c.end(prefix+"to", m.To)
	c.end(prefix+"from", m.From)
	if len(m.Novelty) > 0 {
		c.refuse(prefix+"novelty", "the kernel does not know the record")
	}
}

// direction looks at what a deny says of connections that others begin.
func (c *checker) direction(r *rule.Rule) {
	if r.Action != event.ActionDeny {
		return
	}
	dirs := r.Match.Direction
	if slices.Equal(dirs, []event.Direction{event.Listen}) {
		c.refuse("direction", "to listen moves no packet; deny direction in instead")
	} else if slices.Contains(dirs, event.Listen) {
		c.limit("direction", "to listen moves no packet: only what arrives is denied")
	}
	if !byUser(r.Match.Process) || onlyTCP(r.Match.To, r.Match.From) {
		return
	}
	const datagrams = "the user of an incoming datagram's socket is not known before it is delivered"
	if slices.Contains(dirs, event.In) && !slices.Contains(dirs, event.Out) {
		c.refuse("process", datagrams+"; name its cgroup, or proto tcp")
	} else if !slices.Equal(dirs, []event.Direction{event.Out}) {
		c.limit("process", datagrams+"; no answer leaves")
	}
}

func byUser(p *rule.ProcessMatch) bool { return p != nil && len(p.UID)+len(p.User) > 0 }

func onlyTCP(ends ...*rule.EndpointMatch) bool {
	return slices.ContainsFunc(ends, func(e *rule.EndpointMatch) bool { return e != nil && slices.Equal(e.Proto, []string{"tcp"}) })
}

// process refuses what a packet does not show of its socket.
func (c *checker) process(key string, p *rule.ProcessMatch) {
	if p == nil {
		return
	}
	hidden := []struct {
		name string
		has  bool
	}{
		{"exe", len(p.Exe) > 0}, {"sha256", len(p.SHA256) > 0}, {"name", len(p.Name) > 0},
		{"script", len(p.Script) > 0}, {"script_sha256", len(p.ScriptSHA256) > 0}, {"cmdline", len(p.Cmdline) > 0},
		{"container", len(p.Container) > 0}, {"package", len(p.Package) > 0}, {"reputation", len(p.Reputation) > 0},
		{"parent", p.Parent != nil}, {"ancestor", p.Ancestor != nil},
	}
	for _, h := range hidden {
		if h.has {
			c.refuse(key+"."+h.name, "a packet shows user and cgroup of its socket, not the program")
		}
	}
	if len(p.Unit) > 0 {
		c.refuse(key+".unit", "write its cgroup, as /system.slice/NAME.service and /system.slice/NAME.service/**")
	}
	if len(p.Kind) > 0 && !slices.Equal(p.Kind, []event.ExecutableKind{event.ExecutableKernel}) {
		c.refuse(key+".kind", "only kind kernel can be told from a packet")
	}
	for _, pattern := range p.Cgroup {
		if _, _, ok := cgroupPattern(pattern); !ok {
			c.refuse(key+".cgroup", fmt.Sprintf("%q: a star may only stand for everything below, as in /a/b/**", pattern.Text))
		}
	}
	for _, user := range p.User {
		if _, err := userID(user); err != nil {
			c.refuse(key+".user", fmt.Sprintf("%q: %v", user, err))
		}
	}
}

func (c *checker) end(key string, e *rule.EndpointMatch) {
	if e == nil {
		return
	}
	if len(e.Country) > 0 {
		c.refuse(key+".country", "the kernel has no map of countries")
	}
	for _, p := range e.Proto {
		if _, ok := protocols()[p]; !ok {
			c.refuse(key+".proto", fmt.Sprintf("%q is not a protocol that IP packets carry", p))
		}
	}
	for _, h := range e.Host {
		switch h.Kind {
		case rule.HostName, rule.HostBelow, rule.HostSuffix:
			c.refuse(key+".host", fmt.Sprintf("%q: a packet has addresses, no names", h.String()))
		case rule.HostList:
			if names, _ := c.set.Lists[h.Name].Len(); names > 0 {
				c.refuse(key+".host", fmt.Sprintf("%q holds %d names: a packet has addresses, no names", h.String(), names))
			}
		case rule.HostInvalid, rule.HostNet:
		}
	}
}
