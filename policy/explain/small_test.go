package explain

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// small draws sets and facts over so few values that all combinations can be
// tried. Value 0 of each dimension is "not known" where there is such a thing.
type small struct{ r *rand.Rand }

func newSmall(seed uint64) small { return small{rand.New(rand.NewPCG(seed, 7))} }

// point is a value of each dimension.
type point [7]int

var (
	smallExes  = []string{"", "/bin/a", "/bin/b", "/opt/c"}
	smallUsers = []string{"", "ci", "root"}
	smallHosts = []string{"", "a.example", "b.example"}
	smallAddrs = []netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.9")}
	smallPorts = []uint16{0, 22, 443} // 0: not known
	smallDirs  = []event.Direction{event.Out, event.In}
	smallAbove = []string{"", "/bin/a", "/bin/b"} // of the parent
	smallSizes = point{len(smallExes), len(smallUsers), len(smallHosts), len(smallAddrs), len(smallPorts), len(smallDirs), len(smallAbove)}
)

func (s small) chance(n int) bool { return s.r.IntN(n) == 0 }

func (s small) facts() (rule.Facts, point) {
	var p point
	for d := range p {
		p[d] = s.r.IntN(smallSizes[d])
	}
	return p.facts(), p
}

func (p point) facts() rule.Facts {
	f := rule.Facts{Process: rule.Subject{Exe: smallExes[p[0]], Kind: event.ExecutableFile, User: smallUsers[p[1]]}, Direction: smallDirs[p[5]], Proto: "tcp"}
	f.To = rule.Endpoint{Addr: smallAddrs[p[3]], Port: smallPorts[p[4]], HasPort: p[4] > 0}
	if p[2] > 0 {
		f.To.Names = []rule.Name{{Domain: smallHosts[p[2]], Trusted: true}}
	}
	if p[6] > 0 {
		f.Ancestors = []rule.Subject{{Exe: smallAbove[p[6]], Kind: event.ExecutableFile}}
	}
	return f
}

func (s small) set() *rule.Set {
	rules := make([]rule.Rule, s.r.IntN(6))
	for i := range rules {
		r := &rules[i]
		r.ID, r.Mode, r.Match = "r"+strconv.Itoa(i), event.ModeEnforce, s.match()
		r.Action = event.Action(1 + s.r.IntN(3))
		if r.Action != event.ActionAllow && s.chance(3) {
			r.Except = []rule.Match{s.match()}
		}
		if s.chance(8) {
			r.Mode = event.ModeAudit
		}
	}
	confine := make([]rule.Confine, s.r.IntN(2))
	for i := range confine {
		confine[i] = rule.Confine{ID: "c" + strconv.Itoa(i), Mode: event.ModeEnforce, Process: s.process()}
	}
	return rule.NewSet(rules, confine, nil, nil)
}

func (s small) match() rule.Match {
	m := rule.Match{To: &rule.EndpointMatch{}, Direction: []event.Direction{smallDirs[s.r.IntN(2)]}}
	if s.chance(2) {
		m.Process = s.process()
	}
	if s.chance(2) {
		m.To.Host = append(m.To.Host, rule.Host{Kind: rule.HostName, Name: smallHosts[1+s.r.IntN(2)]})
	}
	if s.chance(3) {
		m.To.Host = append(m.To.Host, rule.Host{Kind: rule.HostNet, Net: netip.MustParsePrefix("10.0.0.0/8")})
	}
	if s.chance(3) {
		m.To.Scope = []rule.Scope{rule.ScopeLAN + rule.Scope(s.r.IntN(2))}
	}
	if s.chance(3) || m.To.IsZero() {
		m.To.Port = []rule.PortRange{{First: 22, Last: []uint16{22, 443}[s.r.IntN(2)]}}
	}
	return m
}

func (s small) process() *rule.ProcessMatch {
	exe := func() []rule.Pattern {
		return []rule.Pattern{{Text: []string{"/bin/a", "/bin/b", "/bin/*", "/opt/**"}[s.r.IntN(4)], Kind: rule.PathPattern}}
	}
	m := &rule.ProcessMatch{}
	if s.chance(2) {
		m.User = []string{smallUsers[1+s.r.IntN(2)]}
	}
	switch s.r.IntN(6) {
	case 0:
		m.Parent = &rule.ProcessMatch{Exe: exe()}
	case 1:
		m.Ancestor = &rule.ProcessMatch{Exe: exe()}
	}
	if s.chance(2) || m.IsZero() {
		m.Exe = exe()
	}
	return m
}

// brute is the least number of dimensions in which a point with another action
// differs, one more than all when there is none.
func (s small) brute(tab *table.Table, set *rule.Set, from point) int {
	var p point
	action := func() event.Action {
		f := p.facts()
		return set.Combine(tab.Votes(&f), time.Time{}).Action
	}
	p = from
	is, least := action(), len(p)+1
	var walk func(d, changed int)
	walk = func(d, changed int) {
		if changed >= least {
			return
		}
		if d == len(p) {
			if action() != is {
				least = changed
			}
			return
		}
		walk(d+1, changed)
		for v := range smallSizes[d] {
			if v != from[d] {
				p[d] = v
				walk(d+1, changed+1)
			}
		}
		p[d] = from[d]
	}
	walk(0, 0)
	return least
}
