package custom

import (
	_ "embed" // the schema
	"net/netip"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Version is that of the input document and of the worker's protocol.
const Version = 1

// Schema is the JSON Schema of Input, as the compiler of modules enforces it.
//
//go:embed input.schema.json
var Schema []byte

// Input is what a module sees of one connection. A fact that is not known is
// absent.
type Input struct {
	V         int      `json:"v"`
	Process   Process  `json:"process"`
	From      Endpoint `json:"from"`
	To        Endpoint `json:"to"`
	Direction string   `json:"direction,omitempty"`
	Novelty   []string `json:"novelty"`
	Matches   []string `json:"matches"` // ids of the YAML rules that match
	Verdict   string   `json:"verdict"` // of the YAML rules
}

// Process is the process, with those above it.
type Process struct {
	Subject
	Parent    *Subject  `json:"parent,omitempty"`
	Ancestors []Subject `json:"ancestors"` // the first is the parent
}

// Subject is one process.
type Subject struct {
	Exe          string  `json:"exe,omitempty"`
	Kind         string  `json:"kind,omitempty"`
	SHA256       string  `json:"sha256,omitempty"`
	Name         string  `json:"name,omitempty"`
	Script       string  `json:"script,omitempty"`
	ScriptSHA256 string  `json:"script_sha256,omitempty"`
	Cmdline      string  `json:"cmdline,omitempty"`
	User         string  `json:"user,omitempty"`
	UID          *uint32 `json:"uid,omitempty"`
	Cgroup       string  `json:"cgroup,omitempty"`
	Unit         string  `json:"unit,omitempty"`
	Container    string  `json:"container,omitempty"`
	Package      string  `json:"package,omitempty"`
	Reputation   string  `json:"reputation,omitempty"`
}

// Endpoint is one end of the connection.
type Endpoint struct {
	IP            string   `json:"ip,omitempty"`
	Port          *uint16  `json:"port,omitempty"`
	Proto         string   `json:"proto,omitempty"`
	Scope         string   `json:"scope,omitempty"`
	Country       string   `json:"country,omitempty"`
	Domain        string   `json:"domain,omitempty"` // the best name
	DomainSource  string   `json:"domain_source,omitempty"`
	DomainTrusted bool     `json:"domain_trusted"` // an allow may rest on Domain
	Domains       []Name   `json:"domains"`        // all names, best first
	Nets          []string `json:"nets"`           // prefixes of the rules that hold the address
	Lists         []string `json:"lists"`          // names of the lists that this end is on
}

// Name is one name of an end.
type Name struct {
	Domain  string `json:"domain"`
	Source  string `json:"source"`
	Trusted bool   `json:"trusted"`
}

// Inputs makes inputs for one set of rules. It is immutable and safe for
// concurrent use.
type Inputs struct {
	nets  map[netip.Prefix]string
	lists []*rule.List
}

// NewInputs prepares what the rules add to the facts.
func NewInputs(set *rule.Set) *Inputs {
	in := &Inputs{nets: map[netip.Prefix]string{}}
	for i := range set.Rules {
		in.match(&set.Rules[i].Match)
		for j := range set.Rules[i].Except {
			in.match(&set.Rules[i].Except[j])
		}
	}
	for _, name := range sortedKeys(set.Lists) {
		in.lists = append(in.lists, set.Lists[name])
	}
	return in
}

func (in *Inputs) match(m *rule.Match) {
	for _, end := range []*rule.EndpointMatch{m.From, m.To} {
		if end == nil {
			continue
		}
		for _, h := range end.Host {
			if h.Kind == rule.HostNet {
				in.nets[h.Net] = h.Net.String()
			}
		}
	}
}

// Input is the document for facts and what the YAML rules say of them.
func (in *Inputs) Input(f *rule.Facts, said *rule.Decision) Input {
	doc := Input{V: Version, Process: Process{Subject: newSubject(&f.Process), Ancestors: make([]Subject, len(f.Ancestors))},
		From: in.endpoint(&f.From, f.Proto), To: in.endpoint(&f.To, f.Proto), Novelty: []string{}, Matches: []string{}, Verdict: said.Action.String()}
	for i := range f.Ancestors {
		doc.Process.Ancestors[i] = newSubject(&f.Ancestors[i])
	}
	if len(f.Ancestors) > 0 {
		doc.Process.Parent = &doc.Process.Ancestors[0]
	}
	if f.Direction != event.DirectionInvalid {
		doc.Direction = f.Direction.String()
	}
	for _, n := range f.Novelty {
		doc.Novelty = append(doc.Novelty, n.String())
	}
	for _, m := range said.Matches {
		doc.Matches = append(doc.Matches, m.ID)
	}
	return doc
}

func newSubject(s *rule.Subject) Subject {
	out := Subject{Exe: s.Exe, SHA256: s.SHA256.String(), Name: s.Name, Script: s.Script, ScriptSHA256: s.ScriptSHA256.String(),
		Cmdline: s.Cmdline, User: s.User, Cgroup: s.Cgroup, Unit: s.Unit, Container: s.Container, Package: s.Package, Reputation: s.Reputation.String()}
	if s.Kind != event.ExecutableInvalid {
		out.Kind = s.Kind.String()
	}
	if s.HasUID {
		out.UID = &s.UID
	}
	return out
}

func (in *Inputs) endpoint(e *rule.Endpoint, proto string) Endpoint {
	out := Endpoint{Proto: proto, Country: e.Country, Domains: []Name{}, Nets: []string{}, Lists: []string{}}
	addr := e.Addr.Unmap().WithZone("")
	if addr.IsValid() {
		out.IP, out.Scope = addr.String(), rule.ScopeOf(addr).String()
		for bits := range addr.BitLen() + 1 {
			if net, err := addr.Prefix(bits); err == nil && in.nets[net] != "" {
				out.Nets = append(out.Nets, in.nets[net])
			}
		}
	}
	if e.HasPort {
		out.Port = &e.Port
	}
	for _, n := range e.Names {
		out.Domains = append(out.Domains, Name{n.Domain, n.Source.String(), n.Trusted})
	}
	if len(e.Names) > 0 {
		best := &e.Names[0]
		out.Domain, out.DomainSource, out.DomainTrusted = best.Domain, best.Source.String(), best.Trusted
	}
	for _, l := range in.lists {
		if onList(l, e) {
			out.Lists = append(out.Lists, l.Name)
		}
	}
	return out
}

func onList(l *rule.List, e *rule.Endpoint) bool {
	for i := range e.Names {
		if l.MatchName(e.Names[i].Domain) {
			return true
		}
	}
	return l.MatchAddr(e.Addr)
}
