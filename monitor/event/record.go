package event

import (
	"fmt"
	"net/netip"
	"time"
)

// Record is the flat JSON object of `snitch log --json` and of the live feed;
// its field names are a contract (docs/log.md). Names are never reused.
type Record struct {
	Time         time.Time  `json:"time"` // of the first byte or attempt
	Last         time.Time  `json:"last"`
	Action       string     `json:"action"`
	Would        string     `json:"would"`
	Rule         string     `json:"rule"`
	Matches      []string   `json:"matches"`
	Mode         string     `json:"mode"`
	Revision     string     `json:"revision"`
	Reason       string     `json:"reason,omitempty"`
	Position     string     `json:"position,omitempty"` // of the rule that won, file:line
	Capped       bool       `json:"capped,omitempty"`
	Provisional  bool       `json:"provisional,omitempty"`
	Error        string     `json:"error,omitempty"`    // of the evaluator
	Previous     string     `json:"previous,omitempty"` // what the rules said before a fact arrived
	PID          uint32     `json:"pid"`
	Ancestor                // of the process itself
	Parent       *Ancestor  `json:"parent"`
	Grandparent  *Ancestor  `json:"grandparent"`
	Ancestors    []Ancestor `json:"ancestors,omitempty"` // beyond the grandparent
	Host         string     `json:"host,omitempty"`      // that recorded it, in a record of several hosts
	UID          uint32     `json:"uid"`
	User         string     `json:"user"`
	Container    string     `json:"container"`
	Cgroup       string     `json:"cgroup"`
	Unit         string     `json:"unit"`
	Script       string     `json:"script"`
	ScriptSHA256 string     `json:"script_sha256"`
	NetNS        uint32     `json:"netns"`
	Direction    string     `json:"direction"`
	Family       string     `json:"family"`
	Proto        string     `json:"proto"`
	LAddr        string     `json:"laddr"`
	LPort        uint16     `json:"lport"`
	RAddr        string     `json:"raddr"`
	RPort        uint16     `json:"rport"`
	Domain       string     `json:"domain"`
	DomainSource string     `json:"domain_source"`
	DomainAge    float64    `json:"domain_age"` // seconds
	SNI          string     `json:"sni,omitempty"`
	Country      string     `json:"country"`
	Sent         uint64     `json:"sent"`
	Received     uint64     `json:"received"`
	Packets      uint64     `json:"packets"`
	Result       string     `json:"result"`
	Existing     bool       `json:"existing,omitempty"`
	Novelty      []string   `json:"novelty"`
}

// Ancestor is one process of the lineage in a Record.
type Ancestor struct {
	Exe        string `json:"exe"`
	ExeView    string `json:"exe_view,omitempty"`
	ExeKind    string `json:"exe_kind"`
	Name       string `json:"name"`
	Cmdline    string `json:"cmdline"`
	SHA256     string `json:"sha256"`
	HashReason string `json:"sha256_reason,omitempty"` // why sha256 is empty
	Package    string `json:"package,omitempty"`       // that owns exe
}

// NewAncestor flattens p; nil stays nil.
func NewAncestor(p *Process) *Ancestor {
	if p == nil {
		return nil
	}
	a := &Ancestor{Exe: p.Executable.Path, ExeView: p.Executable.View, ExeKind: p.Executable.Kind.String(),
		Name: p.Name, Cmdline: p.Cmdline(), SHA256: p.Executable.SHA256.String(), Package: p.Executable.Package}
	if a.SHA256 == "" {
		a.HashReason = p.Executable.Reason.String()
	}
	return a
}

// MaxAncestors bounds the lineage that is recorded, the process itself not counted.
const MaxAncestors = 16

// NewRecord flattens c. A user's name that c does not have is looked up by the
// caller, which may read the user database; this package may not.
func NewRecord(c *Connection, user func(uid uint32) string) Record {
	r := Record{Time: wallUTC(c.Opened), Last: wallUTC(c.Last), Action: c.Decision.Action.String(), Would: c.Decision.Would.String(),
		Rule: c.Decision.Rule, Matches: nonNil(c.Decision.Matches), Mode: c.Decision.Mode.String(), Revision: c.Decision.Revision,
		Reason: c.Decision.Reason, Position: c.Decision.Pos, Capped: c.Decision.Capped, Provisional: c.Decision.Provisional, Error: c.Decision.Error,
		Host: c.Host, UID: c.UID, User: c.User, Container: c.Cgroup.Container, Cgroup: c.Cgroup.Path, Unit: c.Cgroup.Unit, NetNS: c.NetNS,
		Direction: c.Direction.String(), Family: FamilyName(c.Family), Proto: ProtoName(c.Family, c.Proto),
		LAddr: addrString(c.Local.Addr()), LPort: c.Local.Port(), RAddr: addrString(c.Remote.Addr()), RPort: c.Remote.Port(),
		Domain: c.Name.Domain, DomainSource: c.Name.Source.String(), SNI: c.Name.SNI, Country: c.Country,
		Sent: c.Sent, Received: c.Received, Packets: c.Packets, Result: c.Result.String(), Existing: c.Existing, Novelty: nonNil(c.Novelty)}
	if c.Decision.Previous != nil {
		r.Previous = c.Decision.Previous.Would.String()
	}
	if r.User == "" {
		r.User = user(c.UID)
	}
	if !c.Name.At.IsZero() {
		r.DomainAge = max(0, c.Opened.Sub(c.Name.At).Seconds())
	}
	p := c.Process
	if p == nil {
		return r
	}
	r.PID = p.ID.PID
	r.Ancestor = *NewAncestor(p)
	r.Parent = NewAncestor(p.Ancestor(1))
	r.Grandparent = NewAncestor(p.Ancestor(2))
	for n := 3; n <= MaxAncestors; n++ {
		a := NewAncestor(p.Ancestor(n))
		if a == nil {
			break
		}
		r.Ancestors = append(r.Ancestors, *a)
	}
	if p.Script != nil {
		r.Script, r.ScriptSHA256 = p.Script.Path, p.Script.SHA256.String()
	}
	return r
}

// wallUTC makes the time print the same in the live feed, on a host of any
// time zone, as when it comes back from the database.
func wallUTC(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Round(0).UTC()
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func addrString(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

// Address families (AF_*) that have a name here.
const (
	AFInet   = 2
	AFInet6  = 10
	AFPacket = 17
	AFVsock  = 40
	AFXDP    = 44
)

// FamilyName is the name of an AF_* number: ipv4, ipv6, packet, vsock, xdp, or af-N.
func FamilyName(family uint16) string {
	switch family {
	case AFInet:
		return "ipv4"
	case AFInet6:
		return "ipv6"
	case AFPacket:
		return "packet"
	case AFVsock:
		return "vsock"
	case AFXDP:
		return "xdp"
	}
	return fmt.Sprintf("af-%d", family)
}

// Protocols (IPPROTO_*) that have a name here.
const (
	ProtoICMP    = 1
	ProtoTCP     = 6
	ProtoUDP     = 17
	ProtoICMPv6  = 58
	ProtoSCTP    = 132
	ProtoUDPLite = 136
	ProtoRaw     = 255
	ProtoMPTCP   = 262
)

// ProtoName is the name of an IPPROTO_* number of an IP family (tcp, udp,
// udplite, icmp, icmpv6, sctp, mptcp, raw, else ip-N), and for other families
// the name of the family: their numbers mean something else.
func ProtoName(family, proto uint16) string {
	if family != AFInet && family != AFInet6 {
		return FamilyName(family)
	}
	switch proto {
	case ProtoICMP:
		return "icmp"
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	case ProtoICMPv6:
		return "icmpv6"
	case ProtoSCTP:
		return "sctp"
	case ProtoUDPLite:
		return "udplite"
	case ProtoRaw:
		return "raw"
	case ProtoMPTCP:
		return "mptcp"
	}
	return fmt.Sprintf("ip-%d", proto)
}
