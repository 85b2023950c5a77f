package enforce

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// ProtectedPrefix begins the ids of rules that are added to every set while
// something is denied. Nobody else's rules may begin so.
const ProtectedPrefix = "snitch.protected."

// ProtectedFile is where the record keeps, beside the files of a rule set, the
// Protected that was merged into it. Rules are not read from hidden directories.
const ProtectedFile = ".snitch/protected"

// maxSessions bounds the sessions that are protected.
const maxSessions = 16

// IsProtected reports whether id is one of a protected rule.
func IsProtected(id string) bool { return strings.HasPrefix(id, ProtectedPrefix) }

// Protected is what is never denied, lest nobody could mend the rules. It is
// merged into the rules before anything is compiled, so that OPA, the tables
// and people see the same.
type Protected struct {
	// Helper is snitch's own helper that asks for names; nil when there is none.
	Helper *Helper `json:"helper,omitempty"`
	// Needs are the places that snitch's helpers talk to; without Helper none.
	Needs    []Need    `json:"needs,omitempty"`
	Sessions []Session `json:"sessions,omitempty"`
}

// Helper is the process that asks the resolvers for the daemon.
type Helper struct {
	Exe string `json:"exe"` // absolute path of snitch, as the host sees it; "": what denies sees users, no programs
	UID uint32 `json:"uid"` // that it runs as
}

// Session is a way in: whoever comes from Peer to Local by TCP. Peer's port is
// left open so that an operator whose connection broke can come again.
type Session struct {
	Peer  netip.Addr     `json:"peer"`
	Local netip.AddrPort `json:"local"`
}

func (s Session) valid() bool {
	return s.Peer.IsValid() && s.Local.IsValid() && s.Local.Port() != 0 && s.Peer == plain(s.Peer) && s.Local.Addr() == plain(s.Local.Addr())
}

// plain is an address as rules write it.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Rules are what Protected allows.
func (p *Protected) Rules() []rule.Rule {
	rules := []rule.Rule{{ID: ProtectedPrefix + "kernel", Reason: "packets of the kernel itself: neighbour discovery, resets, echo replies",
		Match: rule.Match{Process: &rule.ProcessMatch{Kind: []event.ExecutableKind{event.ExecutableKernel}}}}}
	if h := p.Helper; h != nil && !strings.Contains(h.Exe, "*") { // a star would mean more than this file
		rules = append(rules, rule.Rule{ID: ProtectedPrefix + "helper", Reason: "snitch asks for names",
			Match: rule.Match{
				Process:   h.match(),
				To:        &rule.EndpointMatch{Port: []rule.PortRange{{First: 53, Last: 53}}, Proto: []string{"tcp", "udp"}},
				Direction: []event.Direction{event.Out}}})
	}
	for i := range p.Needs {
		rules = append(rules, p.needed(&p.Needs[i])...)
	}
	for i, s := range p.Sessions {
		id := fmt.Sprintf("%sssh-%d", ProtectedPrefix, i+1)
		rules = append(rules, rule.Rule{ID: id, Match: s.match(), Reason: fmt.Sprintf("the session from %s of who turned enforcement on", s.Peer)},
			rule.Rule{ID: id + "-listener", Match: s.listener(), Reason: "who comes again needs somebody who listens"})
	}
	for i := range rules {
		rules[i].Action, rules[i].Mode = event.ActionAllow, event.ModeEnforce
		rules[i].Pos = rule.Position{File: ProtectedFile, Line: i + 1, Col: 1}
	}
	return rules
}

func (h *Helper) match() *rule.ProcessMatch {
	p := &rule.ProcessMatch{UID: []rule.UIDRange{{First: h.UID, Last: h.UID}}}
	if h.Exe != "" {
		p.Exe = []rule.Pattern{{Text: h.Exe, Kind: rule.PathPattern}}
		p.Parent = &rule.ProcessMatch{Exe: p.Exe}
	}
	return p
}

func (s Session) match() rule.Match {
	host := func(a netip.Addr) []rule.Host {
		return []rule.Host{{Kind: rule.HostNet, Net: netip.PrefixFrom(a, a.BitLen())}}
	}
	return rule.Match{Direction: []event.Direction{event.In},
		From: &rule.EndpointMatch{Host: host(s.Peer)},
		To:   &rule.EndpointMatch{Host: host(s.Local.Addr()), Port: []rule.PortRange{{First: s.Local.Port(), Last: s.Local.Port()}}, Proto: []string{"tcp"}}}
}

// listener is what a caller calls: the kernel lets nobody in where a program may
// not listen. Only the address that was called is meant, which no new listener
// of all addresses has.
func (s Session) listener() rule.Match {
	return rule.Match{Direction: []event.Direction{event.Listen}, To: s.match().To}
}

// Merge returns set with the protected rules. Allow rules lift a confinement
// and no deny, so sessions are exceptions of every deny rule too. The revision
// says that something was added, and what.
func (p *Protected) Merge(set *rule.Set) (*rule.Set, error) {
	for i := range set.Rules {
		if IsProtected(set.Rules[i].ID) {
			return nil, fmt.Errorf("%s: %q: ids that begin with %q are those of snitch's own rules", set.Rules[i].Pos, set.Rules[i].ID, ProtectedPrefix)
		}
	}
	for i := range set.Confine {
		if IsProtected(set.Confine[i].ID) {
			return nil, fmt.Errorf("%s: %q: ids that begin with %q are those of snitch's own rules", set.Confine[i].Pos, set.Confine[i].ID, ProtectedPrefix)
		}
	}
	own := p.Rules()
	out := *set
	out.Rules = slices.Concat(set.Rules, own)
	for i := range out.Rules {
		r := &out.Rules[i]
		if r.Action != event.ActionDeny {
			continue
		}
		r.Except = slices.Clone(r.Except)
		for _, s := range p.Sessions {
			r.Except = append(r.Except, s.match(), s.listener())
		}
	}
	slices.SortFunc(out.Rules, func(a, b rule.Rule) int { return strings.Compare(a.ID, b.ID) })
	data, err := p.Marshal()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	out.Revision += "+" + hex.EncodeToString(sum[:4])
	return &out, nil
}

// Marshal is the form of ProtectedFile.
func (p *Protected) Marshal() ([]byte, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode protected rules: %w", err)
	}
	return append(data, '\n'), nil
}

// ParseProtected reads what Marshal wrote.
func ParseProtected(data []byte) (*Protected, error) {
	var p Protected
	if len(data) > maxSaved {
		return nil, fmt.Errorf("read protected rules: %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("read protected rules: %w", err)
	}
	if len(p.Needs) > maxNeeds || slices.ContainsFunc(p.Needs, func(n Need) bool { return !n.valid() }) {
		return nil, fmt.Errorf("read protected rules: what they need is no place")
	}
	if len(p.Sessions) > maxSessions || slices.ContainsFunc(p.Sessions, func(s Session) bool { return !s.valid() }) {
		return nil, fmt.Errorf("read protected rules: what they name are no sessions")
	}
	return &p, nil
}
