package rego

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"snitch/policy/rule"
)

// hosts finds the host conditions that an end of a connection meets.
type hosts struct {
	names map[string][]nameItem
	nets  prefixes
	lists []*hostList
}

type nameItem struct {
	kind rule.HostKind
	term *ast.Term
}

// hostList is a named list and the conditions that name it.
type hostList struct {
	list  *rule.List
	terms []*ast.Term
}

// add makes term hold for every end that h describes. A list that the set does
// not have matches nothing.
func (hs *hosts) add(h rule.Host, set *rule.Set, term *ast.Term) {
	switch h.Kind {
	case rule.HostName, rule.HostBelow, rule.HostSuffix:
		if hs.names == nil {
			hs.names = map[string][]nameItem{}
		}
		hs.names[h.Name] = append(hs.names[h.Name], nameItem{h.Kind, term})
	case rule.HostNet:
		hs.nets.add(h.Net, term)
	case rule.HostList:
		if list := set.Lists[h.Name]; list != nil {
			hs.addList(list, term)
		}
	}
}

func (hs *hosts) addList(list *rule.List, term *ast.Term) {
	at := slices.IndexFunc(hs.lists, func(l *hostList) bool { return l.list == list })
	if at >= 0 {
		hs.lists[at].terms = append(hs.lists[at].terms, term)
		return
	}
	hs.lists = append(hs.lists, &hostList{list, []*ast.Term{term}})
}

// matchName appends the terms that a peer of this name meets.
func (hs *hosts) matchName(name string, to []*ast.Term) []*ast.Term {
	if name == "" {
		return to
	}
	for _, item := range hs.names[name] {
		if item.kind != rule.HostBelow {
			to = append(to, item.term)
		}
	}
	for parent := range parents(name) {
		for _, item := range hs.names[parent] {
			if item.kind != rule.HostName {
				to = append(to, item.term)
			}
		}
	}
	for _, l := range hs.lists {
		if l.list.MatchName(name) {
			to = append(to, l.terms...)
		}
	}
	return to
}

// parents yields what follows each dot of a name.
func parents(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for {
			_, parent, found := strings.Cut(name, ".")
			if !found || !yield(parent) {
				return
			}
			name = parent
		}
	}
}

// matchAddr appends the terms that an end of this address meets.
func (hs *hosts) matchAddr(addr netip.Addr, to []*ast.Term) []*ast.Term {
	if !addr.IsValid() {
		return to
	}
	addr = addr.Unmap().WithZone("")
	for _, length := range hs.nets.lengths[family(addr)] {
		if net, err := addr.Prefix(length); err == nil {
			to = append(to, hs.nets.items[net]...)
		}
	}
	for _, l := range hs.lists {
		if l.list.MatchAddr(addr) {
			to = append(to, l.terms...)
		}
	}
	return to
}

// prefixes finds every prefix that holds an address: one look-up for each
// length that occurs.
type prefixes struct {
	lengths [2][]int // of IPv4 and IPv6
	items   map[netip.Prefix][]*ast.Term
}

func (p *prefixes) add(net netip.Prefix, term *ast.Term) {
	if !net.IsValid() {
		return
	}
	if p.items == nil {
		p.items = map[netip.Prefix][]*ast.Term{}
	}
	net = net.Masked()
	p.items[net] = append(p.items[net], term)
	lengths := &p.lengths[family(net.Addr())]
	if at, known := slices.BinarySearch(*lengths, net.Bits()); !known {
		*lengths = slices.Insert(*lengths, at, net.Bits())
	}
}

func family(addr netip.Addr) int {
	if addr.Is4() {
		return 0
	}
	return 1
}
