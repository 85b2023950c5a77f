package rego

import (
	"net/netip"
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// reference answers from the words of package rule alone: no index, no order,
// nothing shared with the code under test.
func reference(set *rule.Set, f *rule.Facts) (votes rule.Votes) {
	for _, r := range set.Rules {
		except := slices.ContainsFunc(r.Except, func(m rule.Match) bool { return refMatch(set, &m, f, true) })
		if !except && refMatch(set, &r.Match, f, r.Action == event.ActionAllow) {
			votes.Rules = append(votes.Rules, r.ID)
		}
	}
	for _, c := range set.Confine {
		except := slices.ContainsFunc(c.Except, func(p rule.ProcessMatch) bool { return refProcess(&p, f, -1) })
		if !except && (c.Process == nil || refProcess(c.Process, f, -1)) {
			votes.Confine = append(votes.Confine, c.ID)
		}
	}
	return votes
}

func refMatch(set *rule.Set, m *rule.Match, f *rule.Facts, trusted bool) bool {
	novel := len(m.Novelty) == 0
	for _, n := range m.Novelty {
		novel = novel || slices.Contains(f.Novelty, n)
	}
	return novel && (len(m.Direction) == 0 || slices.Contains(m.Direction, f.Direction)) &&
		(m.Process == nil || refProcess(m.Process, f, -1)) &&
		refEnd(set, m.From, &f.From, f.Proto, trusted) && refEnd(set, m.To, &f.To, f.Proto, trusted)
}

func refEnd(set *rule.Set, m *rule.EndpointMatch, e *rule.Endpoint, proto string, trusted bool) bool {
	if m == nil {
		return true
	}
	port := len(m.Port) == 0
	for _, r := range m.Port {
		port = port || e.HasPort && r.First <= e.Port && e.Port <= r.Last
	}
	host := len(m.Host) == 0
	for _, h := range m.Host {
		host = host || refHost(set, h, e, trusted)
	}
	return port && host && (len(m.Proto) == 0 || proto != "" && slices.Contains(m.Proto, proto)) &&
		(len(m.Scope) == 0 || slices.Contains(m.Scope, rule.ScopeOf(e.Addr))) &&
		(len(m.Country) == 0 || e.Country != "" && slices.Contains(m.Country, e.Country))
}

func refHost(set *rule.Set, h rule.Host, e *rule.Endpoint, trusted bool) bool {
	if h.Kind == rule.HostNet {
		return h.Net.Contains(e.Addr.Unmap())
	}
	if h.Kind == rule.HostList {
		list := set.Lists[h.Name]
		if list == nil {
			return false
		}
		for item := range list.Names() {
			if refHost(set, item, e, trusted) {
				return true
			}
		}
		return slices.ContainsFunc(slices.Collect(list.Nets()), func(p netip.Prefix) bool { return p.Contains(e.Addr.Unmap()) })
	}
	return slices.ContainsFunc(e.Names, func(n rule.Name) bool {
		below := strings.HasSuffix(n.Domain, "."+h.Name)
		same := n.Domain == h.Name
		return (n.Trusted || !trusted) && (same && h.Kind != rule.HostBelow || below && h.Kind != rule.HostName)
	})
}

// refProcess judges the process (-1) or one of the ancestors.
func refProcess(m *rule.ProcessMatch, f *rule.Facts, at int) bool {
	if at >= len(f.Ancestors) {
		return false
	}
	s := &f.Process
	if at >= 0 {
		s = &f.Ancestors[at]
	}
	exe := len(m.Exe) == 0
	for _, p := range m.Exe {
		hostOnly := strings.HasPrefix(p.Text, "/") && len(m.Kind) == 0
		exe = exe || p.Match(s.Exe) && (!hostOnly || s.Kind == event.ExecutableFile)
	}
	if !exe || !refTexts(m, s) || !refOne(m.Kind, s.Kind) || !refOne(m.SHA256, s.SHA256) ||
		!refOne(m.ScriptSHA256, s.ScriptSHA256) || !refOne(m.Reputation, s.Reputation) || !refOne(m.User, s.User) {
		return false
	}
	uid := len(m.UID) == 0
	for _, r := range m.UID {
		uid = uid || s.HasUID && r.First <= s.UID && s.UID <= r.Last
	}
	above := m.Ancestor == nil
	for i := at + 1; i < len(f.Ancestors) && !above; i++ {
		above = refProcess(m.Ancestor, f, i)
	}
	return uid && above && (m.Parent == nil || refProcess(m.Parent, f, at+1))
}

func refTexts(m *rule.ProcessMatch, s *rule.Subject) bool {
	for _, c := range []struct {
		patterns []rule.Pattern
		value    string
	}{{m.Name, s.Name}, {m.Script, s.Script}, {m.Cmdline, s.Cmdline}, {m.Cgroup, s.Cgroup}, {m.Unit, s.Unit},
		{m.Container, s.Container}, {m.Package, s.Package}} {
		if len(c.patterns) > 0 && !slices.ContainsFunc(c.patterns, func(p rule.Pattern) bool { return p.Match(c.value) }) {
			return false
		}
	}
	return true
}

// refOne says whether a fact is one of those wanted; the zero value is unknown.
func refOne[T comparable](want []T, is T) bool {
	var unknown T
	return len(want) == 0 || is != unknown && slices.Contains(want, is)
}
