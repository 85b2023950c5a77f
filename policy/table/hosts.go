package table

import (
	"net/netip"
	"strings"

	"snitch/policy/rule"
)

// hostSet is the items of a host condition.
type hostSet struct {
	few             []rule.Host  // names and nets, searched one by one
	lists           []*rule.List // of the rule files, and of items that are many
	anyName, anyNet bool         // whether there is one to match
}

// newHostSet compiles items. A list that does not exist has nothing in it.
func newHostSet(items []rule.Host, lists map[string]*rule.List) *hostSet {
	s := &hostSet{}
	for _, h := range items {
		switch l := lists[h.Name]; {
		case h.Kind != rule.HostList:
			s.few = append(s.few, h)
			s.anyNet = s.anyNet || h.Kind == rule.HostNet
			s.anyName = s.anyName || h.Kind != rule.HostNet
		case l != nil:
			s.lists = append(s.lists, l)
			names, nets := l.Len()
			s.anyName, s.anyNet = s.anyName || names > 0, s.anyNet || nets > 0
		}
	}
	if len(s.few) > few {
		s.lists, s.few = append(s.lists, rule.NewList("", s.few)), nil
	}
	return s
}

// hasAddr reports whether a plain address is in it.
func (s *hostSet) hasAddr(a netip.Addr) bool {
	for i := range s.few {
		if s.few[i].Kind == rule.HostNet && s.few[i].Net.Contains(a) {
			return true
		}
	}
	for _, l := range s.lists {
		if l.MatchAddr(a) {
			return true
		}
	}
	return false
}

// hasName reports whether an item covers the domain.
func (s *hostSet) hasName(domain string) bool {
	for i := range s.few {
		if covers(&s.few[i], domain) {
			return true
		}
	}
	for _, l := range s.lists {
		if l.MatchName(domain) {
			return true
		}
	}
	return false
}

// covers reports whether a host that is a name covers the domain.
func covers(h *rule.Host, domain string) bool {
	switch h.Kind {
	case rule.HostName:
		return domain == h.Name
	case rule.HostBelow:
		return below(h.Name, domain)
	case rule.HostSuffix:
		return domain == h.Name || below(h.Name, domain)
	}
	return false
}

func below(apex, domain string) bool {
	at := len(domain) - len(apex) - 1
	return at >= 0 && domain[at] == '.' && strings.HasSuffix(domain, apex)
}

// hostTexts writes hosts as rules do.
func hostTexts(hosts []rule.Host) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = hostText(h)
	}
	return out
}

func hostText(h rule.Host) string {
	switch h.Kind {
	case rule.HostBelow:
		return "*." + h.Name
	case rule.HostSuffix:
		return "." + h.Name
	case rule.HostList:
		return "@" + h.Name
	case rule.HostNet:
		if h.Net.IsSingleIP() {
			return h.Net.Addr().String()
		}
		return h.Net.String()
	}
	return h.Name
}
