package importer

import (
	"net/netip"
	"strconv"
	"strings"

	"snitch/policy/rule"
)

// path is a literal path as a pattern.
func path(s string) (rule.Pattern, error) {
	if !strings.HasPrefix(s, "/") {
		return rule.Pattern{}, refuse("%q is no absolute path", shown(s))
	}
	if strings.Contains(s, "*") {
		return rule.Pattern{}, refuse("the path %q has a star, which is a pattern here", shown(s))
	}
	return rule.Pattern{Text: s, Kind: rule.PathPattern}, nil
}

// hostName normalises one name; kind says what it stands for.
func hostName(kind rule.HostKind, s string) (rule.Host, error) {
	s = strings.TrimSpace(s)
	if addr, err := netip.ParseAddr(strings.TrimSuffix(s, ".")); err == nil {
		return hostAddr(addr), nil
	}
	name, err := rule.NormalizeName(s)
	if err != nil {
		return rule.Host{}, refuse("%q is no host name", shown(s))
	}
	return rule.Host{Kind: kind, Name: name}, nil
}

func hostAddr(a netip.Addr) rule.Host {
	a = a.Unmap().WithZone("")
	return rule.Host{Kind: rule.HostNet, Net: netip.PrefixFrom(a, a.BitLen())}
}

// maxPrefixes bounds what one range of addresses becomes.
const maxPrefixes = 256

// addresses reads an address, a CIDR prefix or a range "first-last".
func addresses(s string) ([]rule.Host, error) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(s); err == nil {
		return []rule.Host{hostAddr(a)}, nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, refuse("%q mixes IPv4 and IPv6", s)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		return []rule.Host{{Kind: rule.HostNet, Net: p.Masked()}}, nil
	}
	first, last, ok := strings.Cut(s, "-")
	a, errA := netip.ParseAddr(strings.TrimSpace(first))
	b, errB := netip.ParseAddr(strings.TrimSpace(last))
	a, b = a.Unmap().WithZone(""), b.Unmap().WithZone("")
	if !ok || errA != nil || errB != nil || a.BitLen() != b.BitLen() || b.Less(a) {
		return nil, refuse("%q is no address, network or range", shown(s))
	}
	return span(a, b)
}

// span covers the addresses from a to b with prefixes, exactly.
func span(a, b netip.Addr) ([]rule.Host, error) {
	var out []rule.Host
	for len(out) < maxPrefixes {
		bits := a.BitLen()
		for bits > 0 {
			p := netip.PrefixFrom(a, bits-1).Masked()
			if p.Addr() != a || b.Less(lastOf(p)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(a, bits)
		out = append(out, rule.Host{Kind: rule.HostNet, Net: p})
		if a = lastOf(p).Next(); !a.IsValid() || b.Less(a) {
			return out, nil
		}
	}
	return nil, refuse("a range of addresses needs more than %d networks", maxPrefixes)
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b) // it has the length of an address
	return a
}

// portRange reads "443" or "8000-8099".
func portRange(s string) (rule.PortRange, error) {
	first, last, isRange := strings.Cut(strings.TrimSpace(s), "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(last), 10, 16)
	if errA != nil || errB != nil || b < a {
		return rule.PortRange{}, refuse("%q is no port or range of ports", shown(s))
	}
	return rule.PortRange{First: uint16(a), Last: uint16(b)}, nil
}

// each turns words into values of a condition.
func each[T any](words []string, parse func(string) (T, error)) ([]T, error) {
	out := make([]T, 0, len(words))
	for _, w := range words {
		v, err := parse(w)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
