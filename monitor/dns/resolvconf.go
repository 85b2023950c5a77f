package dns

import (
	"bytes"
	"net/netip"
	"slices"
)

const (
	maxResolvConf = 64 << 10
	maxResolvers  = 32
)

// resolvers are the name servers that the host is configured with.
type resolvers struct{ addrs []netip.Addr }

func (r resolvers) has(a netip.Addr) bool { return slices.Contains(r.addrs, a) }

func (r resolvers) list() []netip.Addr { return slices.Clone(r.addrs) }

// add reads the nameserver lines of a resolv.conf(5). Zones are dropped, since
// packets do not show them.
func (r *resolvers) add(data []byte) {
	for line := range bytes.Lines(data) {
		word, rest := cutField(line)
		if string(word) != "nameserver" {
			continue
		}
		word, _ = cutField(rest)
		addr, err := netip.ParseAddr(string(word))
		if err != nil {
			continue
		}
		r.addAddr(addr)
	}
}

func (r *resolvers) addAddr(addr netip.Addr) {
	addr = addr.WithZone("").Unmap()
	if addr.IsUnspecified() { // the C library reads 0.0.0.0 as this host
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if len(r.addrs) < maxResolvers && !r.has(addr) {
		r.addrs = append(r.addrs, addr)
	}
}
