package rule

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"

	"snitch/monitor/event"
)

// Reads tells which facts the rules of a set look at. Two connections that
// differ only in other facts get the same decision: it is the mask of cache
// keys and of recorded inputs.
type Reads struct {
	Process   SubjectReads
	Parent    SubjectReads
	Ancestors SubjectReads // of every ancestor, the parent included
	From, To  EndpointReads
	Novelty   bool
}

// SubjectReads are the facts of a process that are looked at.
type SubjectReads struct {
	Exe, Kind, SHA256, Name, Script, ScriptSHA256, Cmdline, User, UID, Cgroup, Unit, Container, Package, Reputation bool
}

// EndpointReads are the facts of an end that are looked at: of address and port,
// as far as some rule tells them from others. Direction and protocol always are.
type EndpointReads struct {
	Addr, Port, Names, Country bool

	exact bool // custom modules see addresses and ports themselves
	cells cells
}

// Reads looks through the rules. Custom modules may read anything.
func (s *Set) Reads() Reads {
	var r Reads
	if slices.ContainsFunc(s.Modules, func(m Module) bool { return !m.Test }) {
		all := SubjectReads{true, true, true, true, true, true, true, true, true, true, true, true, true, true}
		end := EndpointReads{Addr: true, Port: true, Names: true, Country: true, exact: true}
		return Reads{Process: all, Parent: all, Ancestors: all, From: end, To: end, Novelty: true}
	}
	for i := range s.Rules {
		r.match(&s.Rules[i].Match, s.Lists)
		for j := range s.Rules[i].Except {
			r.match(&s.Rules[i].Except[j], s.Lists)
		}
	}
	r.From.cells.sort()
	r.To.cells.sort()
	for i := range s.Confine {
		r.process(s.Confine[i].Process, &r.Process)
		for j := range s.Confine[i].Except {
			r.process(&s.Confine[i].Except[j], &r.Process)
		}
	}
	return r
}

func (r *Reads) match(m *Match, lists map[string]*List) {
	r.process(m.Process, &r.Process)
	r.From.add(m.From, lists)
	r.To.add(m.To, lists)
	r.Novelty = r.Novelty || len(m.Novelty) > 0
}

// process adds what m looks at to of. A parent below the first level, and all
// of an ancestor's own lineage, count as read of every ancestor: rarely
// written, and never too little.
func (r *Reads) process(m *ProcessMatch, of *SubjectReads) {
	if m == nil {
		return
	}
	of.add(m)
	above := &r.Ancestors
	if of == &r.Process {
		above = &r.Parent
	}
	r.process(m.Parent, above)
	r.process(m.Ancestor, &r.Ancestors)
}

func (s *SubjectReads) add(m *ProcessMatch) {
	s.Exe = s.Exe || len(m.Exe) > 0
	s.Kind = s.Kind || len(m.Kind) > 0 || len(m.Exe) > 0 // a path matches by kind
	s.SHA256 = s.SHA256 || len(m.SHA256) > 0
	s.Name = s.Name || len(m.Name) > 0
	s.Script = s.Script || len(m.Script) > 0
	s.ScriptSHA256 = s.ScriptSHA256 || len(m.ScriptSHA256) > 0
	s.Cmdline = s.Cmdline || len(m.Cmdline) > 0
	s.User = s.User || len(m.User) > 0
	s.UID = s.UID || len(m.UID) > 0
	s.Cgroup = s.Cgroup || len(m.Cgroup) > 0
	s.Unit = s.Unit || len(m.Unit) > 0
	s.Container = s.Container || len(m.Container) > 0
	s.Package = s.Package || len(m.Package) > 0
	s.Reputation = s.Reputation || len(m.Reputation) > 0
}

func (r *EndpointReads) add(m *EndpointMatch, lists map[string]*List) {
	if m == nil {
		return
	}
	r.cells.add(m, lists)
	for _, h := range m.Host {
		r.Names = r.Names || h.Kind != HostNet
		r.Addr = r.Addr || h.Kind == HostNet || h.Kind == HostList
	}
	r.Addr = r.Addr || len(m.Scope) > 0
	r.Port = r.Port || len(m.Port) > 0
	r.Country = r.Country || len(m.Country) > 0
}

// AppendSubjects appends the read facts of the process and its lineage in a
// form in which different facts never look alike. The form is stored as a
// digest: a change of it is a change of InputVersion.
func (r *Reads) AppendSubjects(to []byte, f *Facts) []byte {
	to = r.Process.append(to, &f.Process)
	for i := range f.Ancestors {
		reads := r.Ancestors
		if i == 0 {
			reads = reads.or(r.Parent)
		} else if reads == (SubjectReads{}) {
			break
		}
		to = append(to, 'A')
		to = reads.append(to, &f.Ancestors[i])
	}
	return append(to, 'Z')
}

// AppendPeers appends the other read facts, in the same manner. Novelty is not
// among them.
func (r *Reads) AppendPeers(to []byte, f *Facts) []byte {
	to = append(to, byte(f.Direction))
	to = appendString(to, f.Proto)
	to = r.From.append(to, &f.From)
	return r.To.append(to, &f.To)
}

// Input names what a decision saw: the first 8 bytes of a SHA-256 over the read
// facts. With the same rules, the same input has the same decision.
func (r *Reads) Input(f *Facts) uint64 {
	sum := sha256.Sum256(r.AppendPeers(r.AppendSubjects([]byte{InputVersion}, f), f))
	return binary.BigEndian.Uint64(sum[:])
}

// InputVersion is the version of the form of AppendSubjects and AppendPeers.
const InputVersion = 2

func (s SubjectReads) or(o SubjectReads) SubjectReads {
	return SubjectReads{s.Exe || o.Exe, s.Kind || o.Kind, s.SHA256 || o.SHA256, s.Name || o.Name, s.Script || o.Script,
		s.ScriptSHA256 || o.ScriptSHA256, s.Cmdline || o.Cmdline, s.User || o.User, s.UID || o.UID, s.Cgroup || o.Cgroup,
		s.Unit || o.Unit, s.Container || o.Container, s.Package || o.Package, s.Reputation || o.Reputation}
}

func (s SubjectReads) append(to []byte, f *Subject) []byte {
	text := func(read bool, value string) {
		if read {
			to = appendString(to, value)
		}
	}
	text(s.Exe, f.Exe)
	if s.Kind {
		to = append(to, byte(f.Kind))
	}
	if s.SHA256 {
		to = append(to, f.SHA256[:]...)
	}
	text(s.Name, f.Name)
	text(s.Script, f.Script)
	if s.ScriptSHA256 {
		to = append(to, f.ScriptSHA256[:]...)
	}
	text(s.Cmdline, f.Cmdline)
	text(s.User, f.User)
	if s.UID {
		to = binary.BigEndian.AppendUint32(appendBool(to, f.HasUID), f.UID)
	}
	text(s.Cgroup, f.Cgroup)
	text(s.Unit, f.Unit)
	text(s.Container, f.Container)
	text(s.Package, f.Package)
	if s.Reputation && f.Reputation != event.ReputationUnasked {
		to = append(to, 'R', byte(f.Reputation)) // nothing where nothing is known: so it was before there were answers
	}
	return to
}

func (r *EndpointReads) append(to []byte, e *Endpoint) []byte {
	if r.Addr {
		to = r.appendAddr(appendBool(to, e.Addr.IsValid()), e.Addr)
	}
	if r.Port {
		to = appendBool(to, e.HasPort)
		if r.exact {
			to = binary.BigEndian.AppendUint16(to, e.Port)
		} else {
			to = binary.AppendUvarint(to, uint64(r.cells.port(e.Port)))
		}
	}
	if r.Country {
		to = appendString(to, e.Country)
	}
	if r.Names {
		for _, n := range e.Names {
			to = appendString(append(to, 'N'), n.Domain)
			to = appendBool(to, n.Trusted)
		}
		to = append(to, 'Z')
	}
	return to
}

func (r *EndpointReads) appendAddr(to []byte, a netip.Addr) []byte {
	if r.exact {
		bytes := a.As16()
		return append(to, bytes[:]...)
	}
	to = binary.AppendUvarint(to, uint64(r.cells.addr(a)))
	for _, l := range r.cells.lists {
		to = appendBool(to, l.MatchAddr(a))
	}
	return to
}

func appendString(to []byte, s string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(s))), s...)
}

func appendBool(to []byte, b bool) []byte {
	if b {
		return append(to, 1)
	}
	return append(to, 0)
}
