package rule

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"snitch/monitor/event"
)

// Set is all rules that hold together. Rules and Confine are sorted by ID; an
// ID is unique over both.
type Set struct {
	// Revision names the content: the git commit or bundle revision that the
	// source told, else "sha256:" and 16 hexadecimal digits over what the rules,
	// lists and modules say (docs/rules.md).
	Revision string
	Rules    []Rule
	Confine  []Confine
	Lists    map[string]*List
	Modules  []Module // custom Rego
}

// Position is where something stands in the files. The zero value is nowhere.
type Position struct {
	File      string // relative to the directory of rules, with slashes
	Line, Col int    // from 1; Col counts bytes
}

// String is file:line:col as compilers print it.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Rule votes Action for what Match describes.
type Rule struct {
	ID      string
	Action  event.Action // Allow, Alert or Deny
	Mode    event.Mode   // Enforce; Audit never votes, it records what it would have done
	Reason  string       // "" when none was given
	Expires time.Time    // zero: never
	Match   Match
	Except  []Match // of deny and alert rules: what they leave alone
	Pos     Position

	where map[string]Position // of the keys, by path; nil when it was not read from a file
}

// At is the position of one key of r, "process.exe" or "except[0].to.host", or
// the one of the nearest key around it that is known.
func (r *Rule) At(path string) Position {
	for path != "" {
		if p, ok := r.where[path]; ok {
			return p
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return r.Pos
}

// Confine makes the processes that Process describes subjects of the
// allowlist: what no enforced allow rule grants them is denied.
type Confine struct {
	ID      string
	Mode    event.Mode
	Reason  string
	Expires time.Time
	Process *ProcessMatch // nil: every process
	Except  []ProcessMatch
	Pos     Position
}

// Match describes connections. Its parts are ANDed, the items of a list are
// ORed, an empty part means any.
type Match struct {
	Process *ProcessMatch
	// From is the end that began, To the other one: of an outbound connection
	// To is the peer, of an inbound one From is the peer and To the local end;
	// a listener has only a local end, To.
	From, To *EndpointMatch
	// Direction was filled by the reader when the file has none: out beside a
	// To, in beside a From; with both or neither it is any (empty).
	Direction []event.Direction
	Novelty   []Novelty // one of these is new
}

// ProcessMatch describes a process. Parent is the process that forked it,
// Ancestor any process above it.
type ProcessMatch struct {
	Exe          []Pattern // PathPattern; host paths match KindFile in the host's view only
	Kind         []event.ExecutableKind
	SHA256       []event.Digest
	Name         []Pattern // WordPattern
	Script       []Pattern // PathPattern, "-m NAME", or None
	ScriptSHA256 []event.Digest
	Cmdline      []Pattern // WordPattern
	User         []string
	UID          []UIDRange
	Cgroup       []Pattern // PathPattern
	Unit         []Pattern // MarkedPattern, or None
	Container    []Pattern // MarkedPattern, or None
	Package      []Pattern // MarkedPattern, None, or "modified:NAME"
	Reputation   []event.Reputation
	Parent       *ProcessMatch
	Ancestor     *ProcessMatch
}

// EndpointMatch describes one end of a connection.
type EndpointMatch struct {
	Host    []Host
	Port    []PortRange
	Proto   []string // names of event.ProtoName; mptcp is tcp
	Scope   []Scope
	Country []string // ISO 3166-1 alpha-2, upper case
}

// UIDRange is inclusive.
type UIDRange struct{ First, Last uint32 }

// PortRange is inclusive.
type PortRange struct{ First, Last uint16 }

// HostKind is how a Host is written.
type HostKind uint8

// Kinds of Host.
const (
	HostInvalid HostKind = 0
	HostName    HostKind = 1 // github.com: this name
	HostBelow   HostKind = 2 // *.github.com: every name below, not itself
	HostSuffix  HostKind = 3 // .github.com: itself and every name below
	HostNet     HostKind = 4 // an address or a CIDR prefix
	HostList    HostKind = 5 // @list
)

// Host is one item of a host list, normalised: lower case, no trailing dot,
// A-labels; prefixes masked, IPv4-mapped ones as IPv4.
type Host struct {
	Kind HostKind
	Name string       // of HostName, HostBelow, HostSuffix (without "*." or "."), and of HostList (without "@")
	Net  netip.Prefix // of HostNet
}

// Module is one file of custom Rego, not yet compiled.
type Module struct {
	File   string // relative to the directory of rules
	Source []byte
	Test   bool // named *_test.rego
}

// NewSet makes a set of parts that it then owns: it sorts them by ID and fills
// Revision, unless the caller sets another one. Every ID must be unique.
func NewSet(rules []Rule, confine []Confine, lists []*List, modules []Module) *Set {
	slices.SortFunc(rules, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(confine, func(a, b Confine) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(modules, func(a, b Module) int { return strings.Compare(a.File, b.File) })
	s := &Set{Rules: rules, Confine: confine, Lists: make(map[string]*List, len(lists)), Modules: modules}
	for _, l := range lists {
		s.Lists[l.Name] = l
	}
	s.Revision = s.revision()
	return s
}

// IsZero reports whether m has no condition: it matches everything.
func (m Match) IsZero() bool {
	return m.Process == nil && m.From == nil && m.To == nil && len(m.Direction) == 0 && len(m.Novelty) == 0
}

// IsZero reports whether p has no condition.
func (p ProcessMatch) IsZero() bool {
	return len(p.Exe) == 0 && len(p.Kind) == 0 && len(p.SHA256) == 0 && len(p.Name) == 0 && len(p.Script) == 0 &&
		len(p.ScriptSHA256) == 0 && len(p.Cmdline) == 0 && len(p.User) == 0 && len(p.UID) == 0 && len(p.Cgroup) == 0 &&
		len(p.Unit) == 0 && len(p.Container) == 0 && len(p.Package) == 0 && len(p.Reputation) == 0 && p.Parent == nil && p.Ancestor == nil
}

// IsZero reports whether e has no condition.
func (e EndpointMatch) IsZero() bool {
	return len(e.Host) == 0 && len(e.Port) == 0 && len(e.Proto) == 0 && len(e.Scope) == 0 && len(e.Country) == 0
}

// Short is file:line, as the record keeps it.
func (p Position) Short() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }
