package policy

import (
	"net/netip"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Facts makes the facts of c as rules see them. It only reads c.
func Facts(c *event.Connection) rule.Facts {
	f := rule.Facts{Direction: c.Direction, Proto: protocol(c)}
	if p := c.Process; p != nil {
		f.Process = subject(p)
		// Who used the socket counts, not what the process became since.
		f.Process.UID, f.Process.User = c.UID, c.User
		place(&f.Process, &c.Cgroup)
		for p = p.Parent; p != nil && len(f.Ancestors) < event.MaxAncestors; p = p.Parent {
			f.Ancestors = append(f.Ancestors, subject(p))
		}
	}
	ends(&f, c)
	f.From.Names, f.To.Names = names(c, nil)
	for _, name := range c.Novelty {
		if n, ok := rule.ParseNovelty(name); ok {
			f.Novelty = append(f.Novelty, n)
		}
	}
	return f
}

func subject(p *event.Process) rule.Subject {
	x := &p.Executable
	s := rule.Subject{Exe: viewed(x.View, x.Path), Kind: x.Kind, SHA256: x.SHA256, Package: x.Package, Reputation: x.Reputation, Name: p.Name, Cmdline: p.Cmdline(),
		UID: p.UID, HasUID: true, User: p.User}
	switch {
	case p.Script != nil:
		s.Script, s.ScriptSHA256 = viewed(p.Script.View, p.Script.Path), p.Script.SHA256
	case x.Kind != event.ExecutableUnknown: // its arguments were seen
		s.Script = rule.None
	}
	place(&s, &p.Cgroup)
	return s
}

// viewed marks a path of another mount namespace with where it holds, so that
// a rule for a path of the host does not match it.
func viewed(view, path string) string {
	if view == "" || path == "" {
		return path
	}
	return view + ":" + path
}

// place says where s runs. In a known cgroup, no unit and no container are
// facts too.
func place(s *rule.Subject, c *event.Cgroup) {
	s.Cgroup, s.Unit, s.Container = c.Path, c.Unit, c.Container
	if c.Path == "" {
		return
	}
	if s.Unit == "" {
		s.Unit = rule.None
	}
	if s.Container == "" {
		s.Container = rule.None
	}
}

// protocol is the one that travels: multipath TCP is TCP.
func protocol(c *event.Connection) string {
	if c.Proto == event.ProtoMPTCP {
		return event.ProtoName(c.Family, event.ProtoTCP)
	}
	return event.ProtoName(c.Family, c.Proto)
}

// ends fills From, the end that began, and To, all but the names.
func ends(f *rule.Facts, c *event.Connection) {
	switch c.Direction {
	case event.In:
		end(&f.From, c, c.Remote)
		end(&f.To, c, c.Local)
		f.From.Country = strings.ToUpper(c.Country)
	case event.Listen:
		end(&f.To, c, c.Local)
	default:
		end(&f.From, c, c.Local)
		end(&f.To, c, destination(c.Remote))
		f.To.Country = strings.ToUpper(c.Country)
	}
}

// destination is where a connection to a goes: to the unspecified address
// means to this host.
func destination(a netip.AddrPort) netip.AddrPort {
	switch addr := a.Addr().Unmap(); {
	case !addr.IsUnspecified():
		return a
	case addr.Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	default:
		return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
	}
}

func end(e *rule.Endpoint, c *event.Connection, a netip.AddrPort) {
	if a.IsValid() {
		e.Addr, e.Port, e.HasPort = a.Addr().Unmap().WithZone(""), a.Port(), hasPorts(c)
	}
}

// hasPorts reports whether the protocol has ports: those of ICMP and raw
// sockets are zeros without a meaning.
func hasPorts(c *event.Connection) bool {
	if c.Family != event.AFInet && c.Family != event.AFInet6 {
		return false
	}
	switch c.Proto {
	case event.ProtoTCP, event.ProtoUDP, event.ProtoUDPLite, event.ProtoSCTP, event.ProtoMPTCP:
		return true
	}
	return false
}

// names are all names of the peer, which is the one end or the other, and what
// the client claimed in TLS or QUIC: a deny rule believes that too. They are
// put into room as long as it lasts.
func names(c *event.Connection, room []rule.Name) (from, to []rule.Name) {
	if c.Direction == event.Listen {
		return nil, nil
	}
	for i := range c.Names {
		room = addName(room, c.Names[i].Domain, c.Names[i].Source, c.Names[i].Trusted)
	}
	if len(c.Names) == 0 {
		room = addName(room, c.Name.Domain, c.Name.Source, c.Name.Trusted)
	}
	room = addName(room, c.Name.SNI, event.NameSNI, false)
	if c.Direction == event.In {
		return room, nil
	}
	return nil, room
}

func addName(to []rule.Name, domain string, source event.NameSource, trusted bool) []rule.Name {
	if domain == "" {
		return to
	}
	for i := range to {
		if to[i].Domain == domain {
			to[i].Trusted = to[i].Trusted || trusted
			return to
		}
	}
	return append(to, rule.Name{Domain: domain, Source: source, Trusted: trusted})
}
