package gate

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Hosts are the names that we are asked under. Addresses need no list: who
// makes a foreign name lead here cannot make it an address.
type Hosts []string

// Allows reports whether a Host header names us. Its port does not matter: a
// forwarded one (ssh -L) is another.
func (h Hosts) Allows(host string) bool {
	name := host
	if bare, _, err := net.SplitHostPort(host); err == nil {
		name = bare
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inner, "]")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	name = strings.ToLower(name)
	return name == "localhost" || name != "" && slices.Contains(h, name)
}
