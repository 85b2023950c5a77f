package ruletest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Epoch is the time around which rules expire: half of the expiring ones have
// expired at Epoch.
var Epoch = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Gen makes random values.
type Gen struct{ r *rand.Rand }

// New makes a Gen of a seed.
func New(seed uint64) *Gen { return &Gen{rand.New(rand.NewPCG(seed, 0x5eed))} }

// Set makes a set of 0 to 8 rules, 0 to 2 confine entries and two lists.
func (g *Gen) Set() *rule.Set { return g.SetOf(g.r.IntN(9), g.r.IntN(3)) }

// SetOf makes a set with so many rules and confine entries.
func (g *Gen) SetOf(rules, confine int) *rule.Set {
	rs, cs := make([]rule.Rule, rules), make([]rule.Confine, confine)
	for i := range rs {
		rs[i] = g.Rule(fmt.Sprintf("r%d", i))
	}
	for i := range cs {
		cs[i] = g.Confine(fmt.Sprintf("c%d", i))
	}
	lists := []*rule.List{rule.NewList("one", g.listItems()), rule.NewList("two", g.listItems())}
	return rule.NewSet(rs, cs, lists, nil)
}

// Rule makes a rule with this id. It may name the lists "one" and "two".
func (g *Gen) Rule(id string) rule.Rule {
	r := rule.Rule{
		ID: id, Action: pick(g, []event.Action{event.ActionAllow, event.ActionAlert, event.ActionDeny}),
		Mode: g.mode(), Reason: g.reason(), Expires: g.expires(), Match: g.Match(),
	}
	for r.Action != event.ActionAllow && len(r.Except) < 2 && g.chance(3) {
		if m := g.Match(); !m.IsZero() {
			r.Except = append(r.Except, m)
		}
	}
	return r
}

// Confine makes a confine entry with this id.
func (g *Gen) Confine(id string) rule.Confine {
	c := rule.Confine{ID: id, Mode: g.mode(), Reason: g.reason(), Expires: g.expires()}
	if !g.chance(4) {
		c.Process = g.ProcessMatch(1)
	}
	for len(c.Except) < 2 && g.chance(3) {
		c.Except = append(c.Except, *g.ProcessMatch(1))
	}
	return c
}

// Match makes a match, which now and then is zero.
func (g *Gen) Match() rule.Match {
	var m rule.Match
	if g.chance(2) {
		m.Process = g.ProcessMatch(2)
	}
	if g.chance(2) {
		m.To = g.EndpointMatch()
	}
	if g.chance(6) {
		m.From = g.EndpointMatch()
	}
	if g.chance(8) {
		m.Novelty = some(g, []rule.Novelty{rule.NoveltyProgram, rule.NoveltyHash, rule.NoveltyParent})
	}
	switch {
	case m.From != nil && m.To != nil:
		m.Direction = g.chanceOf(2, []event.Direction{event.Out, event.In})
		m.From.Proto = m.To.Proto // else they may contradict each other
		m.From.Port = nil
	case m.From != nil:
		m.Direction = some(g, []event.Direction{event.Out, event.In})
	case m.To != nil:
		m.Direction = some(g, directions)
	default:
		m.Direction = g.chanceOf(3, directions)
	}
	if m.From != nil && m.From.IsZero() {
		m.From.Scope = []rule.Scope{rule.ScopeLAN}
	}
	return m
}

// ProcessMatch makes a match with at least one condition, whose parents and
// ancestors are at most depth deep.
func (g *Gen) ProcessMatch(depth int) *rule.ProcessMatch {
	p := &rule.ProcessMatch{}
	for p.IsZero() || g.chance(2) {
		g.processCondition(p, depth)
	}
	return p
}

func (g *Gen) processCondition(p *rule.ProcessMatch, depth int) {
	switch g.r.IntN(21) {
	case 0, 1, 2, 3:
		p.Exe = g.patterns(rule.PathPattern, exePatterns)
	case 4:
		p.Kind = some(g, kinds)
	case 5:
		p.SHA256 = some(g, digests)
	case 6:
		p.Name = g.patterns(rule.WordPattern, wordPatterns)
	case 7:
		p.Script = g.patterns(rule.PathPattern, scriptGlobs)
	case 8:
		p.ScriptSHA256 = some(g, digests)
	case 9:
		p.Cmdline = g.patterns(rule.WordPattern, cmdlineGlobs)
	case 10, 11:
		p.User = some(g, users)
	case 12:
		p.UID = g.uidRanges()
	case 13:
		p.Cgroup = g.patterns(rule.PathPattern, cgroupGlobs)
	case 14:
		p.Unit = g.patterns(rule.MarkedPattern, unitGlobs)
	case 15:
		p.Container = g.patterns(rule.MarkedPattern, containerGlob)
	case 16:
		p.Package = g.patterns(rule.MarkedPattern, packageGlobs)
	case 20:
		p.Reputation = some(g, event.Reputations())
	case 17, 18:
		if depth > 0 {
			p.Parent = g.ProcessMatch(depth - 1)
		}
	case 19:
		if depth > 0 {
			p.Ancestor = g.ProcessMatch(depth - 1)
		}
	}
}

// EndpointMatch makes a match with at least one condition.
func (g *Gen) EndpointMatch() *rule.EndpointMatch {
	e := &rule.EndpointMatch{}
	for e.IsZero() || g.chance(2) {
		switch g.r.IntN(8) {
		case 0, 1, 2:
			e.Host = g.hosts()
		case 3, 4:
			e.Port = g.portRanges()
		case 5:
			e.Proto = some(g, protos)
		case 6:
			e.Scope = some(g, []rule.Scope{rule.ScopeLoopback, rule.ScopeLAN, rule.ScopeInternet})
		case 7:
			e.Country = some(g, countries)
		}
	}
	if e.Port != nil && e.Proto != nil { // a protocol without ports would contradict the port
		e.Proto = some(g, []string{"tcp", "udp", "sctp"})
	}
	return e
}

func (g *Gen) hosts() []rule.Host {
	var out []rule.Host
	for len(out) == 0 || g.chance(2) {
		h := rule.Host{Kind: rule.HostList, Name: pick(g, []string{"one", "two"})}
		switch g.r.IntN(6) {
		case 0, 1:
			h = rule.Host{Kind: rule.HostNet, Net: pick(g, nets)}
		case 2, 3, 4:
			h = rule.Host{Kind: pick(g, []rule.HostKind{rule.HostName, rule.HostBelow, rule.HostSuffix}), Name: pick(g, hostNames)}
		}
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

func (g *Gen) listItems() []rule.Host {
	var out []rule.Host
	for len(out) == 0 { // no file has an empty list
		out = slices.DeleteFunc(append(g.hosts(), g.hosts()...), func(h rule.Host) bool { return h.Kind == rule.HostList })
	}
	return out
}

func (g *Gen) portRanges() []rule.PortRange {
	first, last := g.ordered(len(ports))
	if g.chance(2) {
		last = first
	}
	return []rule.PortRange{{First: ports[first], Last: ports[last]}}
}

func (g *Gen) uidRanges() []rule.UIDRange {
	first, last := g.ordered(len(uids))
	if g.chance(2) {
		last = first
	}
	return []rule.UIDRange{{First: uids[first], Last: uids[last]}}
}

func (g *Gen) patterns(kind rule.PatternKind, texts []string) []rule.Pattern {
	var out []rule.Pattern
	for _, t := range some(g, texts) {
		out = append(out, rule.Pattern{Text: t, Kind: kind})
	}
	return out
}

func (g *Gen) mode() event.Mode {
	if g.chance(5) {
		return event.ModeAudit
	}
	return event.ModeEnforce
}

func (g *Gen) reason() string { return pick(g, []string{"", "", "because", "as: agreed # 1"}) }

func (g *Gen) expires() time.Time {
	return pick(g, []time.Time{{}, {}, {}, {}, Epoch.Add(-time.Hour), Epoch.Add(time.Hour), Epoch.Add(30 * time.Minute)})
}

// chance is true once in n times.
func (g *Gen) chance(n int) bool { return g.r.IntN(n) == 0 }

func (g *Gen) ordered(n int) (low, high int) {
	a, b := g.r.IntN(n), g.r.IntN(n)
	return min(a, b), max(a, b)
}

// chanceOf is some of the values once in n times, else none.
func (g *Gen) chanceOf(n int, of []event.Direction) []event.Direction {
	if g.chance(n) {
		return some(g, of)
	}
	return nil
}

func pick[T any](g *Gen, of []T) T { return of[g.r.IntN(len(of))] }

// some picks one to three different values, mostly one.
func some[T any](g *Gen, of []T) []T {
	n := 1
	for n < 3 && n < len(of) && g.chance(3) {
		n++
	}
	var out []T
	for _, i := range g.r.Perm(len(of))[:n] {
		out = append(out, of[i])
	}
	return out
}
