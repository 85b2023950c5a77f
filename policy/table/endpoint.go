package table

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// end is one end of a connection.
type end uint8

const (
	toEnd   end = 0
	fromEnd end = 1
)

func (e end) String() string { return [...]string{"to", "from"}[e] }

func (e end) of(f *rule.Facts) *rule.Endpoint {
	if e == toEnd {
		return &f.To
	}
	return &f.From
}

// compileEndpoint makes the conditions of m on one end. A nil m has none.
func compileEndpoint(m *rule.EndpointMatch, e end, lists map[string]*rule.List, trusted bool) []cond {
	if m == nil {
		return nil
	}
	var conds []cond
	add := func(name string, t test) { conds = append(conds, cond{key: e.String() + "." + name, test: t}) }
	if len(m.Proto) > 0 {
		add("proto", protoTest(m.Proto))
	}
	if len(m.Port) > 0 {
		add("port", &portTest{end: e, ranges: m.Port})
	}
	if len(m.Host) > 0 {
		add("host", &hostTest{end: e, trusted: trusted, items: m.Host, set: newHostSet(m.Host, lists)})
	}
	if len(m.Scope) > 0 {
		add("scope", &scopeTest{end: e, scopes: m.Scope})
	}
	if len(m.Country) > 0 {
		add("country", &countryTest{end: e, codes: m.Country})
	}
	return conds
}

type directionTest []event.Direction

func (t directionTest) state(f *rule.Facts, _ int) State {
	if f.Direction == event.DirectionInvalid {
		return Absent
	}
	return holdsIf(slices.Contains(t, f.Direction))
}

func (t directionTest) want() []string { return names(t) }

func (t directionTest) got(f *rule.Facts, _ int) string {
	return nameUnless(f.Direction, event.DirectionInvalid)
}

// noveltyTest is never absent: without news it fails.
type noveltyTest []rule.Novelty

func (t noveltyTest) state(f *rule.Facts, _ int) State {
	return holdsIf(slices.ContainsFunc(f.Novelty, func(n rule.Novelty) bool { return slices.Contains(t, n) }))
}

func (t noveltyTest) want() []string { return names(t) }

func (t noveltyTest) got(f *rule.Facts, _ int) string { return strings.Join(names(f.Novelty), ", ") }

type protoTest []string

func (t protoTest) state(f *rule.Facts, _ int) State {
	if f.Proto == "" {
		return Absent
	}
	return holdsIf(slices.Contains(t, f.Proto))
}

func (t protoTest) want() []string                  { return t }
func (t protoTest) got(f *rule.Facts, _ int) string { return f.Proto }

type portTest struct {
	end    end
	ranges []rule.PortRange
}

func (t *portTest) state(f *rule.Facts, _ int) State {
	e := t.end.of(f)
	if !e.HasPort {
		return Absent
	}
	return holdsIf(t.has(e.Port))
}

func (t *portTest) has(port uint16) bool {
	return slices.ContainsFunc(t.ranges, func(r rule.PortRange) bool { return r.First <= port && port <= r.Last })
}

func (t *portTest) want() []string {
	out := make([]string, len(t.ranges))
	for i, r := range t.ranges {
		out[i] = rangeText(uint64(r.First), uint64(r.Last))
	}
	return out
}

func (t *portTest) got(f *rule.Facts, _ int) string {
	if e := t.end.of(f); e.HasPort {
		return strconv.Itoa(int(e.Port))
	}
	return ""
}

// hostTest is the peer's names and address.
type hostTest struct {
	end     end
	trusted bool // only trusted names count
	items   []rule.Host
	set     *hostSet
}

func (t *hostTest) state(f *rule.Facts, _ int) State {
	e := t.end.of(f)
	known := false
	if addr := plain(e.Addr); addr.IsValid() {
		known = known || t.set.anyNet
		if t.set.hasAddr(addr) {
			return Holds
		}
	}
	for i := range e.Names {
		n := &e.Names[i]
		if n.Domain == "" {
			continue
		}
		known = known || t.set.anyName
		if (n.Trusted || !t.trusted) && t.set.hasName(n.Domain) {
			return Holds
		}
	}
	if known {
		return Fails
	}
	return Absent
}

func (t *hostTest) want() []string { return hostTexts(t.items) }

func (t *hostTest) got(f *rule.Facts, _ int) string {
	e := t.end.of(f)
	var out []string
	for _, n := range e.Names {
		text := n.Domain
		if t.trusted && !n.Trusted {
			text += " (not trusted: " + n.Source.String() + ")"
		}
		out = append(out, text)
	}
	if e.Addr.IsValid() {
		out = append(out, e.Addr.String())
	}
	return strings.Join(out, ", ")
}

type scopeTest struct {
	end    end
	scopes []rule.Scope
}

func (t *scopeTest) state(f *rule.Facts, _ int) State {
	scope := rule.ScopeOf(t.end.of(f).Addr)
	if scope == rule.ScopeInvalid {
		return Absent
	}
	return holdsIf(slices.Contains(t.scopes, scope))
}

func (t *scopeTest) want() []string { return names(t.scopes) }

func (t *scopeTest) got(f *rule.Facts, _ int) string {
	return nameUnless(rule.ScopeOf(t.end.of(f).Addr), rule.ScopeInvalid)
}

type countryTest struct {
	end   end
	codes []string
}

func (t *countryTest) state(f *rule.Facts, _ int) State {
	country := t.end.of(f).Country
	if country == "" {
		return Absent
	}
	return holdsIf(slices.Contains(t.codes, country))
}

func (t *countryTest) want() []string                  { return t.codes }
func (t *countryTest) got(f *rule.Facts, _ int) string { return t.end.of(f).Country }

// plain is the form in which prefixes hold addresses: facts are unmapped
// already, a zone only says which link.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
