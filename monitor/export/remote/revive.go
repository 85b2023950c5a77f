package remote

import (
	"fmt"
	"net/netip"
	"strings"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// words find the numbers behind the words of a row.
type words struct {
	actions    map[string]event.Action
	modes      map[string]event.Mode
	directions map[string]event.Direction
	results    map[string]event.Result
	kinds      map[string]event.ExecutableKind
	reasons    map[string]event.HashReason
	causes     map[string]event.LossCause
	families   map[string]uint16
	protocols  map[string]uint16
}

func newWords() *words {
	return &words{actions: spoken[event.Action](), modes: spoken[event.Mode](), directions: spoken[event.Direction](), results: spoken[event.Result](),
		kinds: spoken[event.ExecutableKind](), reasons: spoken[event.HashReason](), causes: spoken[event.LossCause](),
		families:  numbered(event.FamilyName),
		protocols: numbered(func(n uint16) string { return event.ProtoName(event.AFInet, n) })}
}

// spoken maps the words of an enumeration to its values. Numbers without a name
// share one word, which means the least of them.
func spoken[T interface {
	~uint8
	String() string
}]() map[string]T {
	out := map[string]T{}
	for n := 255; n >= 0; n-- {
		out[T(n).String()] = T(n)
	}
	return out
}

func numbered(word func(uint16) string) map[string]uint16 {
	out := map[string]uint16{}
	for n := 511; n >= 0; n-- {
		out[word(uint16(n))] = uint16(n)
	}
	return out
}

// connection makes the event of a row again, as far as the server has it; bytes
// are those of the row.
func (w *words) connection(c *connection) event.Connection {
	digest, _ := event.ParseDigest(c.SHA256) // none is none
	p := &event.Process{ID: event.ProcessID{PID: c.PID}, Name: c.Name, Args: arguments(c.Cmdline),
		Executable: event.Executable{Path: c.Exe, View: c.View, Kind: w.kinds[c.Kind], SHA256: digest, Reason: w.reasons[c.Reason], Package: c.Package}}
	if c.Script != "" {
		sha, _ := event.ParseDigest(c.ScriptSHA256)
		p.Script = &event.Script{Path: c.Script, SHA256: sha}
	}
	p.Parent = w.ancestors(&c.actor)
	if c.PID == 0 && c.Exe == "" && c.Name == "" {
		p = nil // nothing was known of it
	}
	family := w.families[c.Family]
	out := event.Connection{Process: p, Opened: c.Opened, Last: c.Last, Direction: w.directions[c.Direction], Family: family,
		Local: place(c.LAddr, c.LPort), Remote: place(c.RAddr, c.RPort), Country: c.Country,
		Name:   event.Name{Domain: c.Domain, Source: event.ParseNameSource(c.DomainSource), SNI: c.SNI},
		Result: w.results[c.Result], Closed: c.Closed, Existing: c.Existing, Novelty: split(c.Novelty), UID: c.UID, User: c.User, NetNS: c.NetNS,
		Cgroup: event.Cgroup{Path: c.Cgroup, Unit: c.Unit, Container: c.Container},
		Decision: event.Decision{Action: w.actions[c.Action], Would: w.actions[c.Would], Mode: w.modes[c.Mode], Rule: c.Rule, Matches: split(c.Matches),
			Revision: c.Revision, Reason: c.Reason}}
	if family == event.AFInet || family == event.AFInet6 {
		out.Proto = w.protocols[c.Proto]
	}
	return out
}

// ancestors are the programs above, as far as a row names them.
func (w *words) ancestors(a *actor) *event.Process {
	var top *event.Process
	beyond, err := schema.ToList(a.Ancestors)
	if err != nil {
		beyond = nil // it was cut
	}
	for i := min(len(beyond), event.MaxAncestors) - 1; i >= 0; i-- {
		top = &event.Process{Executable: event.Executable{Path: beyond[i], Kind: event.ExecutableFile}, Parent: top}
	}
	level := func(exe, name, cmdline, sha string, up *event.Process) *event.Process {
		if exe == "" && name == "" && up == nil {
			return nil
		}
		digest, _ := event.ParseDigest(sha)
		return &event.Process{Executable: event.Executable{Path: exe, Kind: event.ExecutableFile, SHA256: digest}, Name: name, Args: arguments(cmdline), Parent: up}
	}
	top = level(a.GrandparentExe, a.GrandparentName, "", a.GrandparentSHA256, top)
	return level(a.ParentExe, a.ParentName, a.ParentCmdline, a.ParentSHA256, top)
}

func (w *words) loss(l *loss, host string) event.Loss {
	return event.Loss{Time: l.At, Cause: w.causes[l.Cause], Count: amount(l.Count), Sent: amount(l.Sent), Received: amount(l.Received),
		Detail: fmt.Sprintf("%s: %s", host, l.Detail)}
}

func amount(n int64) uint64 { return uint64(max(n, 0)) }

func arguments(cmdline string) []string {
	if cmdline == "" {
		return nil
	}
	return []string{cmdline}
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func place(addr string, port uint16) netip.AddrPort {
	a, _ := netip.ParseAddr(addr) // none is none
	return netip.AddrPortFrom(a, port)
}
