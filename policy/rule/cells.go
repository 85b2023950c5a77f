package rule

import (
	"net/netip"
	"slices"
)

// cells divides addresses and ports into ranges within which no rule tells one
// from another. They stand for the address or port itself in what a set reads:
// a thousand peers of one network are one input, and one decision.
type cells struct {
	addrs []netip.Addr // where ranges begin, sorted
	lists []*List      // too large to be divided: asked one by one
	ports []uint16     // where ranges begin, sorted
}

// fewNets is up to how many networks of a list become ranges.
const fewNets = 4096

// scopeNets are where scopes begin and end.
var scopeNets = []string{"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
	"224.0.0.0/4", "255.255.255.255/32", "fc00::/7", "fe80::/10", "ff00::/8"}

// add takes in what one match says of an end.
func (c *cells) add(m *EndpointMatch, lists map[string]*List) {
	for _, h := range m.Host {
		switch h.Kind {
		case HostNet:
			c.net(h.Net)
		case HostList:
			c.list(lists[h.Name])
		}
	}
	if len(m.Scope) > 0 {
		for _, net := range scopeNets {
			c.net(netip.MustParsePrefix(net))
		}
	}
	for _, p := range m.Port {
		c.ports = append(c.ports, p.First)
		if p.Last < 65535 {
			c.ports = append(c.ports, p.Last+1)
		}
	}
}

func (c *cells) list(l *List) {
	if l == nil {
		return
	}
	switch _, nets := l.Len(); {
	case nets == 0 || slices.Contains(c.lists, l):
	case nets > fewNets:
		c.lists = append(c.lists, l)
	default:
		for net := range l.Nets() {
			c.net(net)
		}
	}
}

// net begins a range at the first address of net and another behind its last.
func (c *cells) net(net netip.Prefix) {
	first := net.Masked().Addr()
	c.addrs = append(c.addrs, first)
	bytes := first.AsSlice()
	for bit := net.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	if next := last.Next(); next.IsValid() {
		c.addrs = append(c.addrs, next)
	}
}

// sort ends the adding. IPv4 sorts before IPv6, which is a range of its own.
func (c *cells) sort() {
	c.addrs = append(c.addrs, netip.IPv6Unspecified())
	slices.SortFunc(c.addrs, netip.Addr.Compare)
	c.addrs = slices.Clip(slices.Compact(c.addrs))
	slices.Sort(c.ports)
	c.ports = slices.Clip(slices.Compact(c.ports))
}

// addr is the number of the range that holds a. It searches by hand: a function
// value would make the compiler keep what a came from on the heap.
func (c *cells) addr(a netip.Addr) int {
	low, high := 0, len(c.addrs)
	for low < high {
		if middle := (low + high) / 2; c.addrs[middle].Compare(a) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// port is the number of the range that holds p.
func (c *cells) port(p uint16) int {
	i, at := slices.BinarySearch(c.ports, p)
	if at {
		i++
	}
	return i
}
