package table

import (
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Kernel is the rules of a Set as the kernel is given them: what of every match
// the look-up can tell, with addresses, ports and protocols sorted into cells.
// It is immutable; Classes, which are made of it, grow.
type Kernel struct {
	rules   []kernelRule
	confine []kernelConfine
	custom  bool // custom modules vote too
	addrs   addresses
	sources portCells
	columns map[string]uint16 // by protocol; 0 are all that no rule names
}

// kernelRule is a rule that votes.
type kernelRule struct {
	*rule.Rule
	match  kernelMatch
	except []kernelMatch
}

type kernelConfine struct {
	*rule.Confine
	clause Clause
}

// kernelMatch is a match as far as a look-up can tell it.
type kernelMatch struct {
	process  []cond
	dirs     []event.Direction // none: any
	protos   [][]uint16        // columns; of each list one must be it
	to, from kernelEnd
	novelty  bool // wants news, which only user space has
}

// kernelEnd is the conditions on one end.
type kernelEnd struct {
	host, scope []int32 // atoms
	onHost      bool    // there is a host condition
	onScope     bool
	names       bool // the host condition would also be content with a name
	country     bool // wants a country, which only user space knows
	ports       []rule.PortRange
}

// NewKernel compiles what votes at now: rules and confine entries of mode
// enforce that have not expired.
func NewKernel(set *rule.Set, now time.Time) *Kernel {
	k := &Kernel{columns: map[string]uint16{}}
	k.custom = slices.ContainsFunc(set.Modules, func(m rule.Module) bool { return !m.Test })
	for i := range set.Rules {
		r := &set.Rules[i]
		if !votes(r.Mode, r.Expires, now) {
			continue
		}
		kr := kernelRule{Rule: r, match: k.match(&r.Match, set.Lists, r.Action == event.ActionAllow)}
		for j := range r.Except {
			kr.except = append(kr.except, k.match(&r.Except[j], set.Lists, true))
		}
		k.rules = append(k.rules, kr)
	}
	for i := range set.Confine {
		c := &set.Confine[i]
		if !votes(c.Mode, c.Expires, now) {
			continue
		}
		k.confine = append(k.confine, kernelConfine{Confine: c, clause: compileConfine(c)})
	}
	k.addrs.build()
	k.sources.build()
	return k
}

func votes(m event.Mode, expires, now time.Time) bool {
	return m == event.ModeEnforce && (expires.IsZero() || now.Before(expires))
}

func (k *Kernel) match(m *rule.Match, lists map[string]*rule.List, trusted bool) kernelMatch {
	km := kernelMatch{process: compileProcess(m.Process, "process", 0), dirs: m.Direction, novelty: len(m.Novelty) > 0}
	for _, e := range []*rule.EndpointMatch{m.To, m.From} {
		if e != nil && len(e.Proto) > 0 {
			km.protos = append(km.protos, k.protos(e.Proto))
		}
	}
	km.to, km.from = k.end(m.To, lists), k.end(m.From, lists)
	k.sources.add(km.from.ports)
	return km
}

// protos is the columns of protocols; one that no rule named yet gets the next.
func (k *Kernel) protos(names []string) []uint16 {
	var out []uint16
	for _, name := range names {
		column, ok := k.columns[name]
		if !ok {
			column = uint16(len(k.columns) + 1)
			k.columns[name] = column
		}
		out = append(out, column)
	}
	return out
}

func (k *Kernel) end(m *rule.EndpointMatch, lists map[string]*rule.List) kernelEnd {
	if m == nil {
		return kernelEnd{}
	}
	e := kernelEnd{onHost: len(m.Host) > 0, onScope: len(m.Scope) > 0, country: len(m.Country) > 0, ports: m.Port}
	for _, h := range m.Host {
		switch l := lists[h.Name]; {
		case h.Kind == rule.HostNet:
			e.host = append(e.host, k.addrs.atom(atom{net: h.Net}))
		case h.Kind != rule.HostList:
			e.names = true
		case l != nil:
			names, nets := l.Len()
			e.names = e.names || names > 0
			if nets > 0 {
				e.host = append(e.host, k.addrs.atom(atom{list: l}))
			}
		}
	}
	for _, s := range m.Scope {
		e.scope = append(e.scope, k.addrs.atom(atom{scope: s}))
	}
	return e
}

// address is what a cell tells of the conditions on the address.
func (e *kernelEnd) address(a *addresses, cell uint32) tri {
	if e.onScope && !a.has(cell, e.scope) {
		return no
	}
	switch {
	case !e.onHost || a.has(cell, e.host):
		return yes
	case e.names:
		return unknown
	}
	return no
}

// port is what a port, none when known is false, tells of the condition on it.
func (e *kernelEnd) port(p uint16, known bool) tri {
	if len(e.ports) == 0 {
		return yes
	}
	return triIf(known && slices.ContainsFunc(e.ports, func(r rule.PortRange) bool { return r.First <= p && p <= r.Last }))
}

// judge is what the facts of a process tell of conditions on it. Command
// lines are not part of a class: any process may have any.
func judge(conds []cond, f *rule.Facts, above int) tri {
	known := yes
	for i := range conds {
		c := &conds[i]
		at := c.level + above
		switch t := c.test.(type) {
		case *textTest:
			if t.field.name == cmdline {
				known = min(known, triIf(subject(f, at) != nil), unknown)
				continue
			}
		case *ancestorTest:
			known = min(known, t.judge(f, at))
			continue
		}
		known = min(known, triIf(c.test.state(f, at) == Holds))
	}
	return known
}

const cmdline = "cmdline"

func (t *ancestorTest) judge(f *rule.Facts, level int) tri {
	known := no
	for above := level + 1; above <= len(f.Ancestors); above++ {
		known = max(known, judge(t.conds, f, above))
	}
	return known
}

// portCells sorts ports into cells as addresses are: cell 0 is "no port".
type portCells struct {
	first []uint16 // of each cell but 0, ascending
	asked bool     // a range was added: one of all ports still tells them from none
}

func (c *portCells) add(ranges []rule.PortRange) {
	c.asked = c.asked || len(ranges) > 0
	for _, r := range ranges {
		c.first = append(c.first, r.First)
		if r.Last < 65535 {
			c.first = append(c.first, r.Last+1)
		}
	}
}

func (c *portCells) build() {
	c.first = append(c.first, 0)
	slices.Sort(c.first)
	c.first = slices.Compact(c.first)
}

// of is the cell of a port.
func (c *portCells) of(port uint16, known bool) uint32 {
	if !known {
		return 0
	}
	at, ok := slices.BinarySearch(c.first, port)
	if ok {
		at++
	}
	return uint32(at)
}
