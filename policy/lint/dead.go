package lint

import (
	"fmt"
	"slices"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// portless reports whether connections of a protocol have no ports.
func portless(proto string) bool {
	return slices.Contains([]string{"icmp", "icmpv6", "raw", "packet"}, proto) || strings.HasPrefix(proto, "ip-")
}

// neverMatches says why nothing can match m, "" when something may.
func neverMatches(m *rule.Match, lists map[string]*rule.List) string {
	if why := deadProcess(m.Process, "process"); why != "" {
		return why
	}
	for _, end := range []struct {
		name string
		m    *rule.EndpointMatch
	}{{"from", m.From}, {"to", m.To}} {
		if end.m == nil {
			continue
		}
		if why := deadEnd(end.m, end.name, lists); why != "" {
			return why
		}
	}
	return deadDirection(m)
}

// deadProcess looks at conditions of one process that exclude each other.
func deadProcess(p *rule.ProcessMatch, path string) string {
	if p == nil {
		return ""
	}
	if len(p.ScriptSHA256) > 0 && len(p.Script) > 0 && !slices.ContainsFunc(p.Script, func(s rule.Pattern) bool { return s.Text != rule.None }) {
		return fmt.Sprintf("%s.script none has no %s.script_sha256", path, path)
	}
	if why := deadProcess(p.Parent, path+".parent"); why != "" {
		return why
	}
	return deadProcess(p.Ancestor, path+".ancestor")
}

func deadEnd(e *rule.EndpointMatch, path string, lists map[string]*rule.List) string {
	switch {
	case len(e.Port) > 0 && len(e.Proto) > 0 && !slices.ContainsFunc(e.Proto, func(p string) bool { return !portless(p) }):
		return fmt.Sprintf("%s.proto %s has no ports", path, e.Proto[0])
	case !scopesMeet(e.Scope, e.Host):
		return fmt.Sprintf("no address of %s.host has scope %s", path, e.Scope[0])
	case len(e.Host) > 0 && !slices.ContainsFunc(e.Host, func(h rule.Host) bool { return !emptyList(h, lists) }):
		return fmt.Sprintf("the list @%s is empty", e.Host[0].Name)
	}
	return ""
}

func emptyList(h rule.Host, lists map[string]*rule.List) bool {
	if h.Kind != rule.HostList {
		return false
	}
	list := lists[h.Name]
	if list == nil {
		return true
	}
	names, nets := list.Len()
	return names+nets == 0
}

// deadDirection knows that a listener has one end only, and that only it can be
// a new one.
func deadDirection(m *rule.Match) string {
	// The two ends of one connection have one protocol.
	if m.From != nil && m.To != nil && !compare(m.From.Proto, m.To.Proto, same[string], same[string]).meet {
		return "from.proto and to.proto exclude each other"
	}
	if len(m.Direction) == 0 {
		return ""
	}
	listens := slices.Contains(m.Direction, event.Listen)
	if listens && len(m.Direction) == 1 && m.From != nil && (len(m.From.Host) > 0 || len(m.From.Port) > 0 || len(m.From.Scope) > 0 || len(m.From.Country) > 0) {
		return "a listener has no from"
	}
	if !listens && len(m.Novelty) == 1 && m.Novelty[0] == rule.NoveltyListener {
		return "novelty listener is of direction listen only"
	}
	return ""
}

// swallowed says which exception leaves alone all that the rule matches, -1 for
// none.
func swallowed(set *rule.Set, r *rule.Rule) int {
	for i := range r.Except {
		if matchInside(&r.Match, &r.Except[i], worldOf(set, r.Action), world{lists: set.Lists, trusted: true}) {
			return i
		}
	}
	return -1
}
