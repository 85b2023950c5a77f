package geoip

import "net/netip"

// special are ranges that are in no country, the first that holds an address
// names it (IANA special-purpose address registries). netip knows the others.
func special() []scoped {
	ranges := []struct{ prefix, name string }{
		{"0.0.0.0/8", "this network"}, {"100.64.0.0/10", "carrier NAT"}, {"192.0.0.0/24", "reserved"}, {"192.0.2.0/24", "documentation"},
		{"192.88.99.0/24", "reserved"}, {"198.18.0.0/15", "benchmarking"}, {"198.51.100.0/24", "documentation"}, {"203.0.113.0/24", "documentation"},
		{"255.255.255.255/32", "broadcast"}, {"240.0.0.0/4", "reserved"},
		{"100::/64", "discard"}, {"2001:db8::/32", "documentation"}, {"3fff::/20", "documentation"}, {"2001:2::/48", "benchmarking"},
		{"fec0::/10", "private"}, {"5f00::/16", "segment routing"},
	}
	out := make([]scoped, len(ranges))
	for i, r := range ranges {
		out[i] = scoped{netip.MustParsePrefix(r.prefix), r.name}
	}
	return out
}

type scoped struct {
	prefix netip.Prefix
	name   string
}

// scopes tells special addresses from those of the world.
type scopes []scoped

// of is the name of the range that holds a, "" for an address of the world.
func (s scopes) of(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.IsLoopback():
		return "loopback"
	case a.IsPrivate():
		return "private"
	case a.IsLinkLocalUnicast():
		return "link local"
	case a.IsMulticast():
		return "multicast"
	case a.IsUnspecified():
		return "unspecified"
	}
	for i := range s {
		if s[i].prefix.Contains(a) {
			return s[i].name
		}
	}
	return ""
}

// embedded is the IPv4 address that an IPv6 one stands for: mapped, of NAT64
// (RFC 6052) or 6to4 (RFC 3056); else a itself.
func embedded(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	b := a.As16()
	switch {
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6]))
	case [12]byte(b[:12]) == [12]byte{0x00, 0x64, 0xff, 0x9b}:
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}
