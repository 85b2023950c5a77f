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
	for _, name := range c.Novelty {
		if n, ok := rule.ParseNovelty(name); ok {
			f.Novelty = append(f.Novelty, n)
		}
	}
	return f
}

func subject(p *event.Process) rule.Subject {
	x := &p.Executable
	s := rule.Subject{Exe: viewed(x.View, x.Path), Kind: x.Kind, SHA256: x.SHA256, Package: x.Package, Name: p.Name, Cmdline: p.Cmdline(),
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

// ends fills From, the end that began, and To.
func ends(f *rule.Facts, c *event.Connection) {
	local, peer := end(c, c.Local), end(c, c.Remote)
	peer.Country = strings.ToUpper(c.Country)
	peer.Names = names(c)
	switch c.Direction {
	case event.In:
		f.From, f.To = peer, local
	case event.Listen:
		f.To = local
	default:
		f.From, f.To = local, peer
	}
}

func end(c *event.Connection, a netip.AddrPort) rule.Endpoint {
	if !a.IsValid() {
		return rule.Endpoint{}
	}
	return rule.Endpoint{Addr: a.Addr().Unmap().WithZone(""), Port: a.Port(), HasPort: hasPorts(c)}
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

// names are all names of the peer, and what the client claimed in TLS or QUIC:
// a deny rule believes that too.
func names(c *event.Connection) []rule.Name {
	list := c.Names
	if len(list) == 0 && c.Name.Domain != "" {
		list = []event.Name{c.Name}
	}
	var out []rule.Name
	add := func(domain string, source event.NameSource, trusted bool) {
		for i := range out {
			if out[i].Domain == domain {
				out[i].Trusted = out[i].Trusted || trusted
				return
			}
		}
		if domain != "" {
			out = append(out, rule.Name{Domain: domain, Source: source, Trusted: trusted})
		}
	}
	for i := range list {
		add(list[i].Domain, list[i].Source, list[i].Trusted)
	}
	if c.Name.SNI != "" {
		add(c.Name.SNI, event.NameSNI, false)
	}
	return out
}
