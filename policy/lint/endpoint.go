package lint

import (
	"net/netip"
	"slices"
	"strings"

	"snitch/policy/rule"
)

// maxListWalk bounds the comparison of two lists item by item; larger ones are
// compared by name only.
const maxListWalk = 1000

// world is what a match is read in: the lists, and whether its names count only
// when they are trusted (as those of allow rules and exceptions do).
type world struct {
	lists   map[string]*rule.List
	trusted bool
}

// endInside reports whether every end of a is one of b. Nil is any.
func endInside(a, b *rule.EndpointMatch, wa, wb world) bool {
	if b == nil {
		return true
	}
	if a == nil {
		a = &rule.EndpointMatch{}
	}
	return hostsInside(a.Host, b.Host, wa, wb) &&
		rangePart(portSpans(a.Port), portSpans(b.Port)).inside &&
		compare(a.Proto, b.Proto, same[string], same[string]).inside &&
		compare(a.Country, b.Country, same[string], same[string]).inside &&
		(compare(a.Scope, b.Scope, same[rule.Scope], same[rule.Scope]).inside || netsInScopes(a.Host, b.Scope))
}

// endsMeet reports whether one end may be of both; it errs towards yes.
func endsMeet(a, b *rule.EndpointMatch) bool {
	if a == nil || b == nil {
		return true
	}
	return hostsMeet(a.Host, b.Host) &&
		rangePart(portSpans(a.Port), portSpans(b.Port)).meet &&
		compare(a.Proto, b.Proto, same[string], same[string]).meet &&
		compare(a.Country, b.Country, same[string], same[string]).meet &&
		compare(a.Scope, b.Scope, same[rule.Scope], same[rule.Scope]).meet &&
		scopesMeet(a.Scope, b.Host) && scopesMeet(b.Scope, a.Host)
}

func hostsInside(a, b []rule.Host, wa, wb world) bool {
	if len(b) == 0 {
		return true
	}
	if len(a) == 0 {
		return false
	}
	for _, h := range a {
		if !slices.ContainsFunc(b, func(o rule.Host) bool { return hostInside(h, o, wa, wb) }) {
			return false
		}
	}
	return true
}

// hostInside reports whether whatever h matches is matched by o.
func hostInside(h, o rule.Host, wa, wb world) bool {
	if wb.trusted && !wa.trusted && h.Kind != rule.HostNet {
		return false // h believes names that o does not
	}
	list := wb.lists[o.Name]
	switch h.Kind {
	case rule.HostNet:
		if o.Kind == rule.HostList {
			return list != nil && listHolds(list, h.Net)
		}
		return o.Kind == rule.HostNet && netInside(h.Net, o.Net)
	case rule.HostList:
		return o.Kind == rule.HostList && h.Name == o.Name || smallListInside(wa.lists[h.Name], o, wa, wb)
	case rule.HostInvalid:
		return false
	}
	return nameInside(h, o, list)
}

// below is a name under domain that no list can hold exactly: what matches it
// matches every name below.
func below(domain string) string { return "\x00." + domain }

// nameInside compares two names; list is the one that o names, if it does.
func nameInside(h, o rule.Host, list *rule.List) bool {
	match := func(domain string) bool {
		if o.Kind == rule.HostList {
			return list != nil && list.MatchName(domain)
		}
		return matchName(o, domain)
	}
	apex := h.Kind == rule.HostBelow || match(h.Name)
	return apex && (h.Kind == rule.HostName || match(below(h.Name)))
}

func matchName(h rule.Host, domain string) bool {
	under := strings.HasSuffix(domain, "."+h.Name)
	switch h.Kind {
	case rule.HostName:
		return domain == h.Name
	case rule.HostBelow:
		return under
	case rule.HostSuffix:
		return under || domain == h.Name
	case rule.HostInvalid, rule.HostNet, rule.HostList:
	}
	return false
}

func netInside(p, q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }

func listHolds(list *rule.List, p netip.Prefix) bool {
	if p.IsSingleIP() {
		return list.MatchAddr(p.Addr())
	}
	for q := range list.Nets() {
		if netInside(p, q) {
			return true
		}
	}
	return false
}

func smallListInside(list *rule.List, o rule.Host, wa, wb world) bool {
	if list == nil {
		return false
	}
	names, nets := list.Len()
	if names+nets > maxListWalk || names+nets == 0 {
		return false
	}
	for h := range list.Names() {
		if !hostInside(h, o, wa, wb) {
			return false
		}
	}
	for p := range list.Nets() {
		if !hostInside(rule.Host{Kind: rule.HostNet, Net: p}, o, wa, wb) {
			return false
		}
	}
	return true
}

// hostsMeet keeps apart networks only: a peer may have several names, and an
// address beside them.
func hostsMeet(a, b []rule.Host) bool {
	if len(a) == 0 || len(b) == 0 || !onlyNets(a) || !onlyNets(b) {
		return true
	}
	for _, h := range a {
		if slices.ContainsFunc(b, func(o rule.Host) bool { return h.Net.Overlaps(o.Net) }) {
			return true
		}
	}
	return false
}

func onlyNets(hosts []rule.Host) bool {
	return !slices.ContainsFunc(hosts, func(h rule.Host) bool { return h.Kind != rule.HostNet })
}

// nearby are the networks of the scopes that are not the internet.
var nearby = map[rule.Scope][]netip.Prefix{
	rule.ScopeLoopback: prefixes("127.0.0.0/8", "::1/128"),
	rule.ScopeLAN: prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "224.0.0.0/4",
		"255.255.255.255/32", "fc00::/7", "fe80::/10", "ff00::/8"),
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// scopesOf are the scopes that addresses of p have.
func scopesOf(p netip.Prefix) []rule.Scope {
	for scope, nets := range nearby {
		if slices.ContainsFunc(nets, func(n netip.Prefix) bool { return netInside(p, n) }) {
			return []rule.Scope{scope}
		}
	}
	out := []rule.Scope{rule.ScopeInternet}
	for scope, nets := range nearby {
		if slices.ContainsFunc(nets, p.Overlaps) {
			out = append(out, scope)
		}
	}
	return out
}

// netsInScopes reports whether hosts are networks that lie in scopes.
func netsInScopes(hosts []rule.Host, scopes []rule.Scope) bool {
	if len(hosts) == 0 || !onlyNets(hosts) {
		return false
	}
	for _, h := range hosts {
		for _, s := range scopesOf(h.Net) {
			if !slices.Contains(scopes, s) {
				return false
			}
		}
	}
	return true
}

// scopesMeet reports whether an address of hosts may have one of scopes.
func scopesMeet(scopes []rule.Scope, hosts []rule.Host) bool {
	if len(scopes) == 0 || len(hosts) == 0 || !onlyNets(hosts) {
		return true
	}
	for _, h := range hosts {
		if slices.ContainsFunc(scopesOf(h.Net), func(s rule.Scope) bool { return slices.Contains(scopes, s) }) {
			return true
		}
	}
	return false
}
