package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"snitch/monitor/event"
)

// Log is what the record may hold, wherever it is kept or shown.
type Log struct {
	Addresses bool
	Ports     bool
	Commands  bool
	Ignore    Ignore
}

// Ignore names connections that are not recorded; each is a list.
type Ignore struct {
	Ports    string
	Domains  string
	Networks string
	SHA256   string
}

// PortList are the ports.
func (i Ignore) PortList() (out []uint16) {
	for _, s := range items(i.Ports) {
		if n, err := strconv.ParseUint(s, 10, 16); err == nil { // list has read it
			out = append(out, uint16(n))
		}
	}
	return out
}

// DomainList are the domains, lower case.
func (i Ignore) DomainList() []string { return items(i.Domains) }

// NetworkList are the networks.
func (i Ignore) NetworkList() (out []netip.Prefix) {
	for _, s := range items(i.Networks) {
		if p, err := netip.ParsePrefix(s); err == nil { // list has read it
			out = append(out, p)
		}
	}
	return out
}

// DigestList are the SHA-256.
func (i Ignore) DigestList() (out []event.Digest) {
	for _, s := range items(i.SHA256) {
		if d, err := event.ParseDigest(s); err == nil { // list has read it
			out = append(out, d)
		}
	}
	return out
}

var logSettings = []setting{
	reloads(boolean("log.addresses", "addresses and names of both ends", func(c *Config) *bool { return &c.Log.Addresses })),
	reloads(boolean("log.ports", "ports of both ends", func(c *Config) *bool { return &c.Log.Ports })),
	reloads(boolean("log.commands", "command lines of processes and of those above them", func(c *Config) *bool { return &c.Log.Commands })),
	reloads(list("log.ignore.ports", "ports", "of the service", portItem, func(c *Config) *string { return &c.Log.Ignore.Ports })),
	reloads(list("log.ignore.domains", "domains", "and all below them; only names that an allow rule may believe", domainItem, func(c *Config) *string { return &c.Log.Ignore.Domains })),
	reloads(list("log.ignore.networks", "addresses and networks", "of the peer: 10.0.0.0/8, fe80::/10, 192.0.2.1", networkItem, func(c *Config) *string { return &c.Log.Ignore.Networks })),
	reloads(list("log.ignore.sha256", "digests", "of the executable", digestItem, func(c *Config) *string { return &c.Log.Ignore.SHA256 })),
}

func portItem(v string) (string, error) {
	n, err := parseNumber(v, 1, 65535)
	if err != nil {
		return "", err
	}
	return strconv.FormatUint(n, 10), nil
}

func domainItem(v string) (string, error) {
	d := strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(strings.ToLower(v), "."), "*"), ".")
	wrong := d == "" || len(d) > 253
	for label := range strings.SplitSeq(d, ".") {
		wrong = wrong || label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != ""
	}
	if wrong {
		return "", fmt.Errorf("%q is no domain (a name with other letters is written as xn--…)", v)
	}
	return d, nil
}

func networkItem(v string) (string, error) {
	p, err := netip.ParsePrefix(v)
	if err != nil {
		a, addrErr := netip.ParseAddr(v)
		if addrErr != nil || a.Zone() != "" {
			return "", fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", v)
		}
		a = a.Unmap()
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Masked() != p {
		return "", fmt.Errorf("%q has bits behind its length: did you mean %s?", v, p.Masked())
	}
	return p.String(), nil
}

func digestItem(v string) (string, error) {
	d, err := event.ParseDigest(v)
	if err != nil || d.IsZero() {
		return "", fmt.Errorf("%q is no SHA-256 (64 hexadecimal digits)", v)
	}
	return d.String(), nil
}
