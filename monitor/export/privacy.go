package export

import (
	"net/netip"
	"slices"
	"strings"

	"snitch/monitor/event"
)

// Privacy is what the record may hold. The zero value leaves out all that can be
// left out; Everything leaves out nothing.
type Privacy struct {
	Addresses bool // addresses of both ends, the peer's names, and its country
	Ports     bool
	Commands  bool // command lines of a process and of those above it
	// Ignore says which connections are not recorded at all.
	Ignore Ignore
}

// Everything records all there is.
func Everything() Privacy { return Privacy{Addresses: true, Ports: true, Commands: true} }

// Ignore names connections that are not recorded. Their programs are known all
// the same: that a program is new, and what rules say, is judged before.
type Ignore struct {
	Ports []uint16 // of the service: the peer's, of listeners and accepted connections our own
	// Domains and all below them, lower case. Only names that an allow rule may
	// believe count: what a program merely says (SNI) or anybody can set up
	// (reverse DNS) would be a way to hide.
	Domains  []string
	Networks []netip.Prefix // of the peer
	SHA256   []event.Digest // of the executable
}

// ignores reports whether a connection is not to be recorded.
func (i *Ignore) ignores(c *event.Connection) bool {
	port := c.Remote.Port()
	if c.Direction != event.Out {
		port = c.Local.Port()
	}
	if port != 0 && slices.Contains(i.Ports, port) {
		return true
	}
	if addr := c.Remote.Addr().Unmap(); addr.IsValid() && c.Direction != event.Listen {
		addr = addr.WithZone("")
		if slices.ContainsFunc(i.Networks, func(n netip.Prefix) bool { return n.Contains(addr) }) {
			return true
		}
	}
	if p := c.Process; p != nil && !p.Executable.SHA256.IsZero() && slices.Contains(i.SHA256, p.Executable.SHA256) {
		return true
	}
	return len(i.Domains) > 0 && (i.named(&c.Name) || slices.ContainsFunc(c.Names, func(n event.Name) bool { return i.named(&n) }))
}

func (i *Ignore) named(n *event.Name) bool {
	if !n.Trusted && n.Source != event.NameHosts {
		return false
	}
	return slices.ContainsFunc(i.Domains, func(d string) bool { return Below(n.Domain, d) })
}

// Below reports whether name is domain or ends with it behind a dot.
func Below(name, domain string) bool {
	rest, ok := strings.CutSuffix(name, domain)
	return ok && domain != "" && (rest == "" || rest[len(rest)-1] == '.')
}

// connection takes away what is not to be recorded.
func (p *Privacy) connection(c *event.Connection) {
	if p.Addresses && p.Ports && p.Commands {
		return
	}
	local, remote := c.Local.Addr(), c.Remote.Addr()
	lport, rport := c.Local.Port(), c.Remote.Port()
	if !p.Addresses {
		local, remote = netip.Addr{}, netip.Addr{}
		c.Name, c.Names, c.Country = event.Name{}, nil, ""
	}
	if !p.Ports {
		lport, rport = 0, 0
	}
	c.Local, c.Remote = netip.AddrPortFrom(local, lport), netip.AddrPortFrom(remote, rport)
	c.Process = p.process(c.Process)
}

// process is q without what is not to be recorded: a copy, for processes are
// shared.
func (p *Privacy) process(q *event.Process) *event.Process {
	if p.Commands || q == nil {
		return q
	}
	first := *q
	for at := &first; ; {
		at.Args, at.ArgsCut = nil, false
		if at.Parent == nil {
			return &first
		}
		parent := *at.Parent
		at.Parent = &parent
		at = &parent
	}
}

// alert takes away what is not to be recorded. Alerts about ignored connections
// stay: a rule wanted them.
func (p *Privacy) alert(a *event.Alert) {
	if !p.Commands {
		a.Cmdline = ""
	}
	peer, err := netip.ParseAddrPort(a.Peer)
	switch {
	case a.Peer == "" || p.Addresses && p.Ports:
	case !p.Addresses:
		a.Peer = ""
	case err == nil:
		a.Peer = peer.Addr().String()
	}
	if !p.Addresses {
		a.Domain = ""
	}
}
