package ruletest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Mixed is a set of n rules as a company might have: services with their destinations,
// allowlists by user and parent, deny rules by name, network and list, alerts.
func Mixed(n int) *rule.Set {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	rules := make([]rule.Rule, n)
	for i := range rules {
		x := mixedMatch(r, i, n)
		x.ID, x.Mode = fmt.Sprintf("rule-%05d", i), event.ModeEnforce
		rules[i] = x
	}
	bad := make([]rule.Host, 5000)
	for i := range bad {
		bad[i] = rule.Host{Kind: rule.HostSuffix, Name: fmt.Sprintf("ads%d.example", i)}
	}
	confine := []rule.Confine{{ID: "locked", Mode: event.ModeEnforce, Process: &rule.ProcessMatch{Exe: paths("/usr/bin/app1")}}}
	return rule.NewSet(rules, confine, []*rule.List{rule.NewList("ads", bad)}, nil)
}

func paths(texts ...string) (out []rule.Pattern) {
	for _, text := range texts {
		out = append(out, rule.Pattern{Text: text, Kind: rule.PathPattern})
	}
	return out
}

func mixedMatch(r *rand.Rand, i, n int) rule.Rule {
	out := []event.Direction{event.Out}
	exe := paths(fmt.Sprintf("/usr/bin/app%d", r.IntN(n/3+1)))
	web := []rule.PortRange{{First: 443, Last: 443}, {First: 8000, Last: 8099}}
	host := rule.Host{Kind: rule.HostKind(1 + r.IntN(3)), Name: fmt.Sprintf("s%d.example.org", r.IntN(n))}
	net := rule.Host{Kind: rule.HostNet, Net: netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(11 + r.IntN(200)), byte(r.IntN(256)), byte(r.IntN(256)), 0}), 8+r.IntN(17)).Masked()}
	switch i % 10 {
	case 0, 1, 2: // a program to its service
		return rule.Rule{Action: event.ActionAllow, Match: rule.Match{Direction: out, Process: &rule.ProcessMatch{Exe: exe},
			To: &rule.EndpointMatch{Host: []rule.Host{host}, Port: web[:1], Proto: []string{"tcp"}}}}
	case 3: // with user and parent
		return rule.Rule{Action: event.ActionAllow, Match: rule.Match{Direction: out,
			Process: &rule.ProcessMatch{Exe: exe, User: []string{fmt.Sprintf("user%d", r.IntN(20))}, Parent: &rule.ProcessMatch{Exe: paths(fmt.Sprintf("/opt/r%d/*/bin/Worker", r.IntN(50)))}},
			To:      &rule.EndpointMatch{Host: []rule.Host{host, net}, Port: web}}}
	case 4: // a glob of programs
		return rule.Rule{Action: event.ActionAllow, Match: rule.Match{Direction: out,
			Process: &rule.ProcessMatch{Exe: paths(fmt.Sprintf("/opt/vendor%d/**", r.IntN(n)), fmt.Sprintf("**/tool%d", i))},
			To:      &rule.EndpointMatch{Port: web, Scope: []rule.Scope{rule.ScopeInternet}}}}
	case 5, 6: // names that are denied, but for one
		x := rule.Rule{Action: event.ActionDeny, Match: rule.Match{Direction: out, To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostSuffix, Name: fmt.Sprintf("bad%d.example.net", i)}}}}}
		x.Except = []rule.Match{{Process: &rule.ProcessMatch{Exe: paths("/usr/bin/ir-collector")}}}
		return x
	case 7: // networks that are denied
		return rule.Rule{Action: event.ActionDeny, Match: rule.Match{Direction: out, To: &rule.EndpointMatch{Host: []rule.Host{net}, Proto: []string{"tcp", "udp"}}}}
	case 8: // a unit's listener, by user
		return rule.Rule{Action: event.ActionAllow, Match: rule.Match{Direction: []event.Direction{event.Listen, event.In},
			Process: &rule.ProcessMatch{Unit: []rule.Pattern{{Text: fmt.Sprintf("svc%d.service", r.IntN(n)), Kind: rule.WordPattern}}},
			To:      &rule.EndpointMatch{Port: []rule.PortRange{{First: uint16(1024 + i), Last: uint16(1024 + i)}}}}}
	}
	// alerts: an ancestor, a list, a country
	return rule.Rule{Action: event.ActionAlert, Match: rule.Match{Direction: out, Process: &rule.ProcessMatch{Ancestor: &rule.ProcessMatch{Exe: paths(fmt.Sprintf("/usr/sbin/daemon%d", r.IntN(n)))}},
		To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostList, Name: "ads"}}, Country: []string{"US", "NO"}}}}
}

// MixedFacts are connections of which most meet a few of the rules.
func MixedFacts(n, count int) []rule.Facts {
	r := rand.New(rand.NewPCG(2, uint64(n)))
	facts := make([]rule.Facts, count)
	set := Mixed(n)
	for i := range facts {
		f := &facts[i]
		defer meet(r, set, f, i)
		f.Process = rule.Subject{Exe: fmt.Sprintf("/usr/bin/app%d", r.IntN(n/3+1)), Kind: event.ExecutableFile, SHA256: event.Digest{byte(i), byte(i >> 8), 1},
			Name: "app", Cmdline: fmt.Sprintf("app --config %d", i%100), User: fmt.Sprintf("user%d", r.IntN(20)), UID: uint32(r.IntN(20)), HasUID: true,
			Cgroup: "/system.slice/x.service", Unit: fmt.Sprintf("svc%d.service", r.IntN(n)), Container: rule.None, Script: rule.None, Package: "app"}
		if i%7 == 0 {
			f.Process.Exe = fmt.Sprintf("/opt/vendor%d/bin/tool%d", r.IntN(n), r.IntN(n))
		}
		for _, exe := range []string{fmt.Sprintf("/opt/r%d/2.3/bin/Worker", r.IntN(50)), "/usr/bin/bash", fmt.Sprintf("/usr/sbin/daemon%d", r.IntN(n)), "/usr/lib/systemd/systemd"} {
			f.Ancestors = append(f.Ancestors, rule.Subject{Exe: exe, Kind: event.ExecutableFile, User: "root", HasUID: true})
		}
		f.Direction, f.Proto = event.Out, "tcp"
		name := fmt.Sprintf("s%d.example.org", r.IntN(n))
		switch i % 11 {
		case 0:
			name = fmt.Sprintf("x.bad%d.example.net", r.IntN(n))
		case 1:
			name = fmt.Sprintf("t.ads%d.example", r.IntN(5000))
		}
		f.To = rule.Endpoint{Addr: netip.AddrFrom4([4]byte{byte(11 + r.IntN(200)), byte(r.IntN(256)), byte(r.IntN(256)), 9}), Port: 443, HasPort: true,
			Names: []rule.Name{{Domain: name, Source: event.NameDNS, Trusted: i%5 != 0}}, Country: "US"}
		f.From = rule.Endpoint{Addr: netip.MustParseAddr("192.168.1.5"), Port: uint16(30000 + i%20000), HasPort: true}
	}
	return facts
}

// meet makes two of three facts such that they match a rule of the set.
func meet(r *rand.Rand, set *rule.Set, f *rule.Facts, i int) {
	x := set.Rules[r.IntN(len(set.Rules))].Match
	if i%3 == 0 || x.Direction[0] != event.Out {
		return
	}
	if p := x.Process; p != nil && len(p.Exe) > 0 {
		f.Process.Exe = strings.ReplaceAll(p.Exe[0].Text, "**", "bin/x")
		if p.User != nil {
			f.Process.User = p.User[0]
		}
		if p.Parent != nil {
			f.Ancestors[0].Exe = strings.ReplaceAll(p.Parent.Exe[0].Text, "*", "2.3")
		}
	}
	if x.To == nil || len(x.To.Host) == 0 {
		return
	}
	switch h := x.To.Host[0]; h.Kind {
	case rule.HostNet:
		f.To.Addr = h.Net.Addr()
	case rule.HostName, rule.HostSuffix:
		f.To.Names = []rule.Name{{Domain: h.Name, Source: event.NameDNS, Trusted: true}}
	case rule.HostBelow:
		f.To.Names = []rule.Name{{Domain: "www." + h.Name, Source: event.NameDNS, Trusted: true}}
	}
}
