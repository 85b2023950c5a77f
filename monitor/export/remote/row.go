package remote

import (
	"net/netip"
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/monitor/store/schema"
)

// The rows of a parcel. A field's json tag is its column, its sql tag the kind
// of column: see kinds. Text of other processes is cleaned before it gets here.

// program is an executable and how it was started.
type program struct {
	Exe     string `json:"exe,omitempty" sql:"text"`
	View    string `json:"exe_view,omitempty" sql:"name"` // whose path it is; empty: the host's
	Kind    string `json:"exe_kind,omitempty" sql:"word"`
	Name    string `json:"name,omitempty" sql:"name"`
	Cmdline string `json:"cmdline,omitempty" sql:"text"`
	SHA256  string `json:"sha256,omitempty" sql:"word"`
	Reason  string `json:"sha256_reason,omitempty" sql:"word"` // why there is none
	Package string `json:"package,omitempty" sql:"name"`
}

// actor is a program with its lineage, and who ran it where.
type actor struct {
	PID uint32 `json:"pid,omitempty" sql:"big"`
	program
	Script            string `json:"script,omitempty" sql:"text"`
	ScriptSHA256      string `json:"script_sha256,omitempty" sql:"word"`
	ParentExe         string `json:"parent_exe,omitempty" sql:"text"`
	ParentName        string `json:"parent_name,omitempty" sql:"name"`
	ParentCmdline     string `json:"parent_cmdline,omitempty" sql:"text"`
	ParentSHA256      string `json:"parent_sha256,omitempty" sql:"word"`
	GrandparentExe    string `json:"grandparent_exe,omitempty" sql:"text"`
	GrandparentName   string `json:"grandparent_name,omitempty" sql:"name"`
	GrandparentSHA256 string `json:"grandparent_sha256,omitempty" sql:"word"`
	Ancestors         string `json:"ancestors,omitempty" sql:"text"` // programs beyond, quoted, with commas
	UID               uint32 `json:"uid,omitempty" sql:"big"`
	User              string `json:"account,omitempty" sql:"name"`
	Cgroup            string `json:"cgroup_path,omitempty" sql:"text"`
	Unit              string `json:"unit,omitempty" sql:"name"`
	Container         string `json:"container,omitempty" sql:"name"`
	NetNS             uint32 `json:"netns,omitempty" sql:"big"`
}

// connection is the growth of one connection.
type connection struct {
	Run      int64     `json:"run,omitempty" sql:"big"`
	ID       int64     `json:"id,omitempty" sql:"big"` // of the connection, in its run
	First    bool      `json:"first,omitempty" sql:"flag"`
	Opened   time.Time `json:"opened,omitzero" sql:"time"`
	Last     time.Time `json:"last_seen,omitzero" sql:"time"`
	Action   string    `json:"action,omitempty" sql:"word"`
	Would    string    `json:"would,omitempty" sql:"word"`
	Rule     string    `json:"rule,omitempty" sql:"name"`
	Matches  string    `json:"matches,omitempty" sql:"text"`
	Mode     string    `json:"mode,omitempty" sql:"word"`
	Revision string    `json:"revision,omitempty" sql:"name"`
	Reason   string    `json:"reason,omitempty" sql:"text"`
	actor
	Direction    string `json:"direction,omitempty" sql:"word"`
	Family       string `json:"family,omitempty" sql:"word"`
	Proto        string `json:"proto,omitempty" sql:"word"`
	LAddr        string `json:"laddr,omitempty" sql:"word"`
	LPort        uint16 `json:"lport,omitempty" sql:"int"`
	RAddr        string `json:"raddr,omitempty" sql:"word"`
	RPort        uint16 `json:"rport,omitempty" sql:"int"`
	Domain       string `json:"domain,omitempty" sql:"name"`
	DomainSource string `json:"domain_source,omitempty" sql:"word"`
	SNI          string `json:"sni,omitempty" sql:"name"`
	Country      string `json:"country,omitempty" sql:"word"`
	Sent         int64  `json:"sent,omitempty" sql:"big"`
	Received     int64  `json:"received,omitempty" sql:"big"`
	Packets      int64  `json:"packets,omitempty" sql:"big"`
	Result       string `json:"result,omitempty" sql:"word"`
	Closed       bool   `json:"closed,omitempty" sql:"flag"`
	Existing     bool   `json:"existing,omitempty" sql:"flag"`
	Novelty      string `json:"novelty,omitempty" sql:"text"`
}

// execution is a program that began to run.
type execution struct {
	At time.Time `json:"at,omitzero" sql:"time"`
	actor
}

// loss is something that was not recorded as it should have been.
type loss struct {
	At       time.Time `json:"at,omitzero" sql:"time"`
	Cause    string    `json:"cause,omitempty" sql:"word"`
	Count    int64     `json:"amount,omitempty" sql:"big"`
	Sent     int64     `json:"sent,omitempty" sql:"big"`
	Received int64     `json:"received,omitempty" sql:"big"`
	Exe      string    `json:"exe,omitempty" sql:"text"`
	Detail   string    `json:"detail,omitempty" sql:"text"`
}

// alert is what a person should know; how often it happened since the last row.
type alert struct {
	First        time.Time `json:"first_seen,omitzero" sql:"time"`
	Last         time.Time `json:"last_seen,omitzero" sql:"time"`
	Count        int64     `json:"amount,omitempty" sql:"big"`
	Kind         string    `json:"kind,omitempty" sql:"word"`
	Rule         string    `json:"rule,omitempty" sql:"name"`
	Action       string    `json:"action,omitempty" sql:"word"`
	Reason       string    `json:"reason,omitempty" sql:"text"`
	Exe          string    `json:"exe,omitempty" sql:"text"`
	SHA256       string    `json:"sha256,omitempty" sql:"word"`
	Cmdline      string    `json:"cmdline,omitempty" sql:"text"`
	ParentExe    string    `json:"parent_exe,omitempty" sql:"text"`
	ParentSHA256 string    `json:"parent_sha256,omitempty" sql:"word"`
	PID          uint32    `json:"pid,omitempty" sql:"big"`
	UID          uint32    `json:"uid,omitempty" sql:"big"`
	User         string    `json:"account,omitempty" sql:"name"`
	Direction    string    `json:"direction,omitempty" sql:"word"`
	Proto        string    `json:"proto,omitempty" sql:"word"`
	Peer         string    `json:"peer,omitempty" sql:"name"`
	Domain       string    `json:"domain,omitempty" sql:"name"`
}

func (p *packer) connection(run int64, g *store.Grown) *connection {
	c, d := g.Connection, &g.Decision
	return &connection{Run: run, ID: schema.FromCount(c.ID), First: g.First, Opened: when(c.Opened), Last: when(c.Last),
		Action: d.Action.String(), Would: d.Would.String(), Rule: name(d.Rule), Matches: text(strings.Join(d.Matches, ",")), Mode: d.Mode.String(),
		Revision: name(d.Revision), Reason: text(d.Reason), actor: p.actor(c.Process, c.UID, c.User, c.NetNS, &c.Cgroup),
		Direction: c.Direction.String(), Family: event.FamilyName(c.Family), Proto: event.ProtoName(c.Family, c.Proto),
		LAddr: addr(c.Local.Addr()), LPort: c.Local.Port(), RAddr: addr(c.Remote.Addr()), RPort: c.Remote.Port(),
		Domain: name(c.Name.Domain), DomainSource: c.Name.Source.String(), SNI: name(c.Name.SNI), Country: word(c.Country),
		Sent: schema.FromCount(g.Sent), Received: schema.FromCount(g.Received), Packets: schema.FromCount(g.Packets),
		Result: c.Result.String(), Closed: c.Closed, Existing: c.Existing, Novelty: text(strings.Join(c.Novelty, ","))}
}

// actor is who acted and where; many rows have one process.
func (p *packer) actor(c *event.Process, uid uint32, user string, netns uint32, cgroup *event.Cgroup) actor {
	a, ok := p.actors[c]
	if !ok && c != nil {
		a = newActor(c)
		p.actors[c] = a
	}
	a.UID, a.User, a.NetNS = uid, name(user), netns
	a.Cgroup, a.Unit, a.Container = text(cgroup.Path), name(cgroup.Unit), name(cgroup.Container)
	return a
}

func newActor(p *event.Process) actor {
	a := actor{PID: p.ID.PID, program: newProgram(p)}
	if p.Script != nil {
		a.Script, a.ScriptSHA256 = text(p.Script.Path), p.Script.SHA256.String()
	}
	if q := p.Ancestor(1); q != nil {
		up := newProgram(q)
		a.ParentExe, a.ParentName, a.ParentCmdline, a.ParentSHA256 = up.Exe, up.Name, up.Cmdline, up.SHA256
	}
	if q := p.Ancestor(2); q != nil {
		a.GrandparentExe, a.GrandparentName, a.GrandparentSHA256 = text(q.Executable.Path), name(q.Name), q.Executable.SHA256.String()
	}
	var beyond []string
	for n := 3; n <= event.MaxAncestors; n++ {
		q := p.Ancestor(n)
		if q == nil {
			break
		}
		beyond = append(beyond, name(q.Executable.Path))
	}
	a.Ancestors = text(schema.FromList(beyond))
	return a
}

func newProgram(p *event.Process) program {
	a := event.NewAncestor(p)
	return program{Exe: text(a.Exe), View: name(a.ExeView), Kind: a.ExeKind, Name: name(a.Name), Cmdline: text(a.Cmdline),
		SHA256: a.SHA256, Reason: a.HashReason, Package: name(a.Package)}
}

func (p *packer) execution(e *event.ExecSeen) *execution {
	c := e.Process
	return &execution{At: when(e.Time), actor: p.actor(c, c.UID, c.User, c.NetNS, &c.Cgroup)}
}

func newLoss(l *event.Loss) *loss {
	out := &loss{At: when(l.Time), Cause: l.Cause.String(), Count: schema.FromCount(l.Count), Sent: schema.FromCount(l.Sent),
		Received: schema.FromCount(l.Received), Detail: text(l.Detail)}
	if l.Process != nil {
		out.Exe = text(l.Process.Executable.Path)
	}
	return out
}

func newAlert(a *event.Alert) *alert {
	return &alert{First: when(a.First), Last: when(a.Last), Count: schema.FromCount(a.Count), Kind: a.Kind.String(), Rule: name(a.Rule),
		Action: word(a.Action), Reason: text(a.Reason), Exe: text(a.Exe), SHA256: word(a.SHA256), Cmdline: text(a.Cmdline),
		ParentExe: text(a.ParentExe), ParentSHA256: word(a.ParentSHA256), PID: a.PID, UID: a.UID, User: name(a.User), Direction: word(a.Direction),
		Proto: word(a.Proto), Peer: name(a.Peer), Domain: name(a.Domain)}
}

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return word(a.Unmap().String())
}
