package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// domains maps names as people write them to A-labels. It refuses what no
// resolver would take.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))

// String is the host as it is written in a file.
func (h Host) String() string {
	switch h.Kind {
	case HostName:
		return h.Name
	case HostBelow:
		return "*." + h.Name
	case HostSuffix:
		return "." + h.Name
	case HostList:
		return "@" + h.Name
	case HostNet:
		if h.Net.IsSingleIP() {
			return h.Net.Addr().String()
		}
		return h.Net.String()
	}
	return "invalid"
}

// ParseHost reads one item of a host list and normalises it.
func ParseHost(s string) (Host, error) {
	if name, ok := strings.CutPrefix(s, "@"); ok {
		if !validID(name) {
			return Host{}, fmt.Errorf("%q is not the name of a list: %s", clip(s), idRule)
		}
		return Host{Kind: HostList, Name: name}, nil
	}
	return parseListItem(s)
}

// parseListItem reads an item that may stand in a list: no other list.
func parseListItem(s string) (Host, error) {
	if looksLikeAddress(s) {
		p, err := ParseNet(s)
		return Host{Kind: HostNet, Net: p}, err
	}
	if strings.HasPrefix(s, "@") {
		return Host{}, fmt.Errorf("%q: a list holds no other list; name both in the rule", clip(s))
	}
	if err := notAHost(s); err != nil {
		return Host{}, err
	}
	h := Host{Kind: HostName, Name: s}
	if rest, ok := strings.CutPrefix(s, "*."); ok {
		h = Host{Kind: HostBelow, Name: rest}
	} else if rest, ok := strings.CutPrefix(s, "."); ok {
		h = Host{Kind: HostSuffix, Name: rest}
	}
	name, err := NormalizeName(h.Name)
	if err != nil {
		return Host{}, err
	}
	h.Name = name
	return h, nil
}

// looksLikeAddress reports whether s can only be meant as an address or net.
func looksLikeAddress(s string) bool {
	if strings.Contains(s, "://") || strings.Contains(s, "*") {
		return false
	}
	return strings.Count(s, ":") > 1 || strings.Trim(s, "0123456789./:") == "" && strings.ContainsAny(s, "0123456789")
}

// notAHost finds what is more or less than a host.
func notAHost(s string) error {
	if rest, ok := strings.CutPrefix(s, "*."); ok && !strings.Contains(rest, "*") {
		return nil
	}
	switch {
	case s == "*":
		return errors.New(`"*" as a host: to mean any, leave the key out`)
	case strings.Contains(s, "*"):
		return fmt.Errorf(`%q: a star may only stand for all labels in front, as in "*.example.org"`, clip(s))
	case strings.Contains(s, "://"):
		_, rest, _ := strings.Cut(s, "://")
		host, _, _ := strings.Cut(rest, "/")
		return fmt.Errorf("%q is a URL: write its host, %q", clip(s), clip(host))
	case strings.Contains(s, ":"):
		host, port, _ := strings.Cut(s, ":")
		return fmt.Errorf("%q has a port: write host: %s and port: %s", clip(s), clip(host), clip(port))
	case strings.Contains(s, "/"):
		host, _, _ := strings.Cut(s, "/")
		return fmt.Errorf("%q has a path: write the host alone, %q", clip(s), clip(host))
	}
	return nil
}

// NormalizeName makes a domain name what Facts hold: lower case, without a
// trailing dot, A-labels.
func NormalizeName(s string) (string, error) {
	name := strings.TrimSuffix(strings.ToLower(s), ".")
	if !ascii(name) {
		mapped, err := domains.ToASCII(name)
		if err != nil {
			return "", fmt.Errorf("%q is not a domain name: %w", clip(s), err)
		}
		name = strings.TrimSuffix(mapped, ".")
	}
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("%q is not a domain name: %w", clip(s), err)
	}
	return name, nil
}

func ascii[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// checkName checks a lower-case ASCII name by what docs/names.md takes: labels
// of letters, digits, hyphens and underscores, the last one no number.
func checkName[T string | []byte](name T) error {
	if len(name) == 0 {
		return errors.New("it is empty")
	}
	if len(name) > maxName {
		return fmt.Errorf("it has more than %d characters", maxName)
	}
	label, digits := 0, true
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return errors.New("it has an empty label (two dots, or one too many in front)")
			}
			label, digits = 0, true
			continue
		case c >= 'a' && c <= 'z' || c == '-' || c == '_':
			digits = false
		case c >= '0' && c <= '9':
		default:
			return fmt.Errorf("it has the character %q", c)
		}
		if label++; label > 63 {
			return errors.New("it has a label of more than 63 characters")
		}
	}
	if label == 0 {
		return errors.New("it ends in two dots")
	}
	if digits {
		return errors.New("it ends in a number, as only addresses do")
	}
	return nil
}

// ParseNet reads an address or a CIDR prefix. Host bits must be zero.
func ParseNet(s string) (netip.Prefix, error) {
	if inner := strings.Trim(s, "[]"); inner != s {
		return netip.Prefix{}, fmt.Errorf("%q: write an address without brackets, %q", clip(s), clip(inner))
	}
	if !strings.Contains(s, "/") {
		a, err := parseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network: want an address, a slash and a number of bits, as 10.0.0.0/8", clip(s))
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q mixes IPv4 and IPv6: write 0.0.0.0/0 for every IPv4 address", clip(s))
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("%q has bits set behind the prefix: write %s for the network, or %s for this address", clip(s), m, p.Addr())
	}
	return p, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil && strings.Count(s, ":") == 1:
		addr, port, _ := strings.Cut(s, ":")
		return a, fmt.Errorf("%q has a port: write host: %s and port: %s", clip(s), clip(addr), clip(port))
	case err != nil && strings.Contains(s, ":"):
		return a, fmt.Errorf("%q is not an IPv6 address", clip(s))
	case err != nil:
		return a, fmt.Errorf("%q is not an IPv4 address: want four numbers up to 255 without leading zeros", clip(s))
	case a.Zone() != "":
		return a, fmt.Errorf("%q has a zone: write %s", clip(s), a.WithZone(""))
	}
	return a.Unmap(), nil
}
