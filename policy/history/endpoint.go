package history

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// atom is one thing that a program did, seen from a rule.
type atom struct {
	direction event.Direction
	proto     string
	port      uint16
	hasPort   bool
	name      string     // of the peer, one that an allow may rest on
	addr      netip.Addr // of the peer, when it has no such name
	scope     rule.Scope // of inbound peers, and of those that no list names
}

func (a atom) String() string {
	s := a.direction.String() + " " + a.proto
	if a.hasPort {
		s += "/" + strconv.Itoa(int(a.port))
	}
	switch {
	case a.name != "":
		return s + " " + a.name
	case a.addr.IsValid():
		return s + " " + a.addr.String()
	case a.scope != rule.ScopeInvalid:
		return s + " " + a.scope.String()
	}
	return s
}

func atomOf(f *rule.Facts) atom {
	a := atom{direction: f.Direction, proto: f.Proto, port: f.To.Port, hasPort: f.To.HasPort}
	switch f.Direction {
	case event.In:
		a.scope = rule.ScopeOf(f.From.Addr)
	case event.Out:
		for _, n := range f.To.Names {
			if n.Trusted && plainName(n.Domain) {
				a.name = n.Domain
				return a
			}
		}
		if a.scope = rule.ScopeOf(f.To.Addr); a.scope != rule.ScopeLoopback && f.To.Addr.IsValid() {
			a.scope, a.addr = rule.ScopeInvalid, f.To.Addr
		}
	}
	return a
}

// plainName reports whether a name can stand in a list of hosts for itself.
func plainName(s string) bool {
	if len(s) == 0 || len(s) > 253 || strings.ToLower(s) != s {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" ||
			strings.ContainsFunc(l, func(c rune) bool {
				return c > 0x7f || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789-_", c)
			}) {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != "" // no half of an address
}

// manyHosts is how many addresses a rule lists; more are named by scope.
const manyHosts = 64

// endpoint is one rule of a group: what its ends are, and the evidence.
type endpoint struct {
	match    rule.Match
	label    string
	evidence evidence
}

func (e *endpoint) key() string {
	var b strings.Builder
	fmt.Fprint(&b, e.match.Direction)
	for _, m := range []*rule.EndpointMatch{e.match.From, e.match.To} {
		if m != nil {
			fmt.Fprint(&b, m.Host, m.Port, m.Proto, m.Scope)
		}
	}
	return b.String()
}

// target is one item of a rule's list of hosts: a name, a suffix, a network, or
// a scope.
type target struct {
	direction event.Direction
	host      rule.Host
	scope     rule.Scope
}

func (t target) String() string {
	switch t.host.Kind {
	case rule.HostSuffix:
		return "." + t.host.Name
	case rule.HostName:
		return t.host.Name
	case rule.HostNet:
		if t.host.Net.IsSingleIP() {
			return t.host.Net.Addr().String()
		}
		return t.host.Net.String()
	default:
		return t.scope.String()
	}
}

func compareTargets(a, b target) int {
	return cmp.Or(cmp.Compare(a.direction, b.direction), cmp.Compare(a.scope, b.scope), cmp.Compare(a.host.Kind, b.host.Kind),
		strings.Compare(a.host.Name, b.host.Name), a.host.Net.Addr().Compare(b.host.Net.Addr()), cmp.Compare(a.host.Net.Bits(), b.host.Net.Bits()))
}

// service is a protocol and what was seen of its ports.
type service struct {
	target target
	proto  string
}

// endpoints makes the rules of a group: targets with the same ports share one.
func (g *group) endpoints(opts LearnOptions) []*endpoint {
	targets := g.targets(opts)
	ports := make(map[service]map[uint16]bool)
	sums := make(map[service]*Sums)
	for at, s := range g.atoms {
		key := service{targets[at], at.proto}
		if sums[key] == nil {
			sums[key], ports[key] = new(Sums), make(map[uint16]bool)
		}
		sums[key].merge(*s)
		if at.hasPort {
			ports[key][at.port] = true
		}
	}
	byForm := make(map[string]*endpoint)
	keys := slices.SortedFunc(maps.Keys(sums), func(a, b service) int {
		return cmp.Or(compareTargets(a.target, b.target), strings.Compare(a.proto, b.proto))
	})
	for _, key := range keys {
		ranges := portRanges(ports[key], opts.Ports)
		shape := key.target
		shape.host = rule.Host{Kind: min(key.target.host.Kind, rule.HostName)} // hosts share a rule, scopes do not
		form := fmt.Sprint(shape.direction, shape.host.Kind, shape.scope, key.proto, ranges)
		e := byForm[form]
		if e == nil {
			e = newEndpoint(key, ranges)
			e.evidence.programs = slices.Sorted(maps.Keys(g.exes))
			byForm[form] = e
		}
		e.add(key.target, *sums[key])
	}
	return mergeProtocols(byForm)
}

func newEndpoint(key service, ranges []rule.PortRange) *endpoint {
	e := &endpoint{match: rule.Match{Direction: []event.Direction{key.target.direction}, To: &rule.EndpointMatch{Port: ranges, Proto: []string{key.proto}}}}
	if s := key.target.scope; s != rule.ScopeInvalid {
		if key.target.direction == event.In {
			e.match.From = &rule.EndpointMatch{Scope: []rule.Scope{s}}
		} else {
			e.match.To.Scope = []rule.Scope{s}
		}
	}
	return e
}

func (e *endpoint) add(t target, s Sums) {
	if t.host.Kind != rule.HostInvalid {
		e.match.To.Host = append(e.match.To.Host, t.host)
	}
	e.evidence.total.merge(s)
	e.evidence.targets = append(e.evidence.targets, evidenceOf{t.String(), s})
}

// mergeProtocols makes one rule of those that differ in the protocol only, and
// names all.
func mergeProtocols(byForm map[string]*endpoint) []*endpoint {
	var out []*endpoint
	merged := make(map[string]*endpoint)
	for _, form := range slices.Sorted(maps.Keys(byForm)) {
		e := byForm[form]
		plain := *e.match.To
		plain.Proto = nil
		key := fmt.Sprint(e.match.Direction, plain, e.match.From)
		if e.match.From != nil {
			key = fmt.Sprint(e.match.Direction, plain, *e.match.From)
		}
		if have := merged[key]; have != nil {
			have.match.To.Proto = append(have.match.To.Proto, e.match.To.Proto...)
			have.evidence.join(&e.evidence)
			continue
		}
		merged[key] = e
		out = append(out, e)
	}
	for _, e := range out {
		slices.Sort(e.match.To.Proto)
		e.label = labelOf(e)
	}
	slices.SortFunc(out, func(a, b *endpoint) int {
		return cmp.Or(strings.Compare(a.label, b.label), strings.Compare(a.key(), b.key()))
	})
	return out
}

var services = map[uint16]string{22: "ssh", 25: "smtp", 53: "dns", 80: "http", 123: "ntp", 143: "imap", 443: "https", 465: "smtps", 587: "submission",
	636: "ldaps", 853: "dot", 993: "imaps", 3306: "mysql", 5432: "postgres", 6379: "redis"}

// labelOf says in an id what a rule is about.
func labelOf(e *endpoint) string {
	m := e.match.To
	label := strings.Join(m.Proto, "-")
	switch {
	case len(m.Port) == 0:
	case len(m.Port) == 1 && m.Port[0].First == m.Port[0].Last && services[m.Port[0].First] != "":
		label = services[m.Port[0].First]
	default:
		label += "-" + strconv.Itoa(int(m.Port[0].First))
		if last := m.Port[len(m.Port)-1].Last; last != m.Port[0].First {
			label += "-" + strconv.Itoa(int(last))
		}
	}
	switch e.match.Direction[0] {
	case event.In:
		label = "in-" + label
	case event.Listen:
		label = "listen-" + label
	}
	for _, end := range []*rule.EndpointMatch{e.match.From, m} {
		if end != nil && len(end.Scope) > 0 {
			label += "-" + end.Scope[0].String()
		}
	}
	return slug(label)
}

// portRanges lists ports, neighbours together, or more than limit of them as
// one range.
func portRanges(ports map[uint16]bool, limit int) (out []rule.PortRange) {
	for _, p := range slices.Sorted(maps.Keys(ports)) {
		if n := len(out); n > 0 && out[n-1].Last+1 == p {
			out[n-1].Last = p
			continue
		}
		out = append(out, rule.PortRange{First: p, Last: p})
	}
	if len(out) > limit {
		out = []rule.PortRange{{First: out[0].First, Last: out[len(out)-1].Last}}
	}
	return out
}

// targets finds for each atom the item of a list that stands for it.
func (g *group) targets(opts LearnOptions) map[atom]target {
	below := make(map[string]map[string]bool)            // registrable domain → names
	inside := make(map[netip.Prefix]map[netip.Addr]bool) // network → addresses
	scopes := make(map[rule.Scope]map[netip.Prefix]bool) // scope → items of a list
	for at := range g.atoms {
		switch {
		case at.name != "":
			put(below, registrable(at.name), at.name)
		case at.addr.IsValid():
			put(inside, networkOf(at.addr), at.addr)
		}
	}
	item := func(a netip.Addr) netip.Prefix {
		if n := networkOf(a); len(inside[n]) >= opts.Addresses {
			return n
		}
		return netip.PrefixFrom(a, a.BitLen())
	}
	for at := range g.atoms {
		if at.addr.IsValid() {
			put(scopes, rule.ScopeOf(at.addr), item(at.addr))
		}
	}
	out := make(map[atom]target, len(g.atoms))
	for at := range g.atoms {
		t := target{direction: at.direction, scope: at.scope}
		switch {
		case at.name != "":
			t.host = rule.Host{Kind: rule.HostName, Name: at.name}
			if domain := registrable(at.name); len(below[domain]) >= opts.Subdomains {
				t.host = rule.Host{Kind: rule.HostSuffix, Name: domain}
			}
		case at.addr.IsValid() && len(scopes[rule.ScopeOf(at.addr)]) > manyHosts:
			t.scope = rule.ScopeOf(at.addr)
		case at.addr.IsValid():
			t.host = rule.Host{Kind: rule.HostNet, Net: item(at.addr)}
		}
		out[at] = t
	}
	return out
}

func put[K, V comparable](m map[K]map[V]bool, k K, v V) {
	if m[k] == nil {
		m[k] = make(map[V]bool)
	}
	m[k][v] = true
}

// registrable is the part of a name that somebody registered; names under
// which strangers register (github.io) are not.
func registrable(name string) string {
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil {
		return domain
	}
	return name
}

// networkOf is the network that many addresses of one may stand for.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked()
}
