package explain

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// fact is one fact that rules of the set read, and values that it could have:
// enough that every condition of the set has one that satisfies it and one that
// does not. The value that it has is not among them.
type fact struct {
	key    string
	from   string
	values []Change // those that are known first, then "not known"
}

// maxListItems is how many items of a list are tried.
const maxListItems = 16

// factsOf are the facts that the rules of set read. Their From is that of f.
func factsOf(set *rule.Set, f *rule.Facts) []fact {
	var p processMatches
	var to, from []*rule.EndpointMatch
	var all []*rule.Match
	for i := range set.Rules {
		all = append(all, &set.Rules[i].Match)
		for j := range set.Rules[i].Except {
			all = append(all, &set.Rules[i].Except[j])
		}
	}
	for _, m := range all {
		p.add(m.Process, 0)
		if m.To != nil {
			to = append(to, m.To)
		}
		if m.From != nil {
			from = append(from, m.From)
		}
	}
	for i := range set.Confine {
		p.add(set.Confine[i].Process, 0)
		for j := range set.Confine[i].Except {
			p.add(&set.Confine[i].Except[j], 0)
		}
	}
	var out []fact
	for level := range p.levels(len(f.Ancestors)) {
		matches := p.own
		if level > 0 {
			matches = p.above
		}
		at := func(f *rule.Facts) *rule.Subject { return slot(f, level) }
		out = append(out, factsAt(slotKey(level), subjectFields(), matches, f, at)...)
	}
	out = append(out, connectionFacts(all, f)...)
	out = append(out, factsAt("to", endFields(set.Lists, &f.To), to, f, func(f *rule.Facts) *rule.Endpoint { return &f.To })...)
	out = append(out, factsAt("from", endFields(set.Lists, &f.From), from, f, func(f *rule.Facts) *rule.Endpoint { return &f.From })...)
	return slices.DeleteFunc(out, func(f fact) bool { return len(f.values) == 0 })
}

// factsAt are the facts of one thing that matches read.
func factsAt[T, M any](key string, fields []field[T, M], matches []*M, f *rule.Facts, at func(*rule.Facts) *T) []fact {
	now := *f
	is := at(&now)
	var out []fact
	for _, field := range fields {
		fc := fact{key: key + "." + field.name, from: field.get(is)}
		seen := map[string]bool{"": true, fc.from: true}
		add := func(v value[T]) {
			if !seen[v.text] {
				seen[v.text] = true
				fc.values = append(fc.values, Change{fc.key, fc.from, v.text, func(f *rule.Facts) { v.set(at(f)) }})
			}
		}
		read := false
		for _, m := range matches {
			values := field.values(m)
			read = read || len(values) > 0 || field.also != nil && field.also(m)
			for _, v := range values {
				add(v)
			}
		}
		if !read {
			continue
		}
		for _, v := range field.other {
			add(v)
		}
		if fc.from != "" {
			fc.values = append(fc.values, Change{fc.key, fc.from, "", func(f *rule.Facts) { field.clear(at(f)) }})
		}
		out = append(out, fc)
	}
	return out
}

// connectionFacts are direction, protocol and novelty.
func connectionFacts(matches []*rule.Match, f *rule.Facts) []fact {
	direction := fact{key: "direction", from: nameOf(f.Direction)}
	for d := event.Out; d <= event.Listen; d++ {
		direction.add(d.String(), func(f *rule.Facts) { f.Direction = d })
	}
	proto := fact{key: "proto", from: f.Proto}
	var news []rule.Novelty
	for _, m := range matches {
		for _, e := range []*rule.EndpointMatch{m.To, m.From} {
			if e == nil {
				continue
			}
			for _, name := range e.Proto {
				proto.add(name, func(f *rule.Facts) { f.Proto = name })
			}
		}
		for _, n := range m.Novelty {
			if !slices.Contains(news, n) {
				news = append(news, n)
			}
		}
	}
	if len(proto.values) > 0 || f.Proto != "" {
		proto.add("ip-253", func(f *rule.Facts) { f.Proto = "ip-253" }) // of RFC 3692: for experiments
		if f.Proto != "" {
			proto.values = append(proto.values, Change{proto.key, f.Proto, "", func(f *rule.Facts) { f.Proto = "" }})
		}
	}
	return []fact{direction, proto, noveltyFact(news, f)}
}

// noveltyFact has every subset of the news that rules speak of.
func noveltyFact(news []rule.Novelty, f *rule.Facts) fact {
	slices.Sort(news)
	out := fact{key: "novelty", from: noveltyText(f.Novelty)}
	for bits := range 1 << len(news) {
		var subset []rule.Novelty
		for i, n := range news {
			if bits>>i&1 == 1 {
				subset = append(subset, n)
			}
		}
		if len(news) > 0 {
			out.add(noveltyText(subset), func(f *rule.Facts) { f.Novelty = subset })
		}
	}
	return out
}

func noveltyText(news []rule.Novelty) string {
	if len(news) == 0 {
		return "nothing new"
	}
	texts := make([]string, len(news))
	for i, n := range news {
		texts[i] = n.String()
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

func nameOf(d event.Direction) string {
	if d == event.DirectionInvalid {
		return ""
	}
	return d.String()
}

// add adds a value unless it is there.
func (fc *fact) add(text string, set func(*rule.Facts)) {
	same := func(c Change) bool { return c.To == text }
	if text != fc.from && !slices.ContainsFunc(fc.values, same) {
		fc.values = append(fc.values, Change{fc.key, fc.from, text, set})
	}
}

type (
	endField = field[rule.Endpoint, rule.EndpointMatch]
	endValue = value[rule.Endpoint]
)

// endFields are the facts of an end of a connection, which is is.
func endFields(lists map[string]*rule.List, is *rule.Endpoint) []endField {
	addr := endField{name: "addr", get: func(e *rule.Endpoint) string { return addrText(e.Addr) }, clear: func(e *rule.Endpoint) { e.Addr = netip.Addr{} },
		values: func(m *rule.EndpointMatch) []endValue { return addrValues(m, lists) },
		also:   func(m *rule.EndpointMatch) bool { return len(m.Scope) > 0 }}
	for _, text := range []string{"203.0.113.1", "192.168.0.1", "127.0.0.1", "2001:db8::1", "fe80::1", "::1"} {
		addr.other = append(addr.other, addrValue(netip.MustParseAddr(text)))
	}
	port := endField{name: "port", get: portText, clear: func(e *rule.Endpoint) { e.Port, e.HasPort = 0, false },
		values: portValues, other: []endValue{portValue(0)}}
	name := endField{name: "name", get: namesText, clear: func(e *rule.Endpoint) { e.Names = nil },
		values: func(m *rule.EndpointMatch) []endValue { return nameValues(m, lists, is) }, other: []endValue{nameValue("other.invalid", true)}}
	country := endField{name: "country", get: func(e *rule.Endpoint) string { return e.Country }, clear: func(e *rule.Endpoint) { e.Country = "" },
		values: func(m *rule.EndpointMatch) (out []endValue) {
			for _, code := range m.Country {
				out = append(out, countryValue(code))
			}
			return out
		}, other: []endValue{countryValue("ZZ")}}
	return []endField{name, addr, port, country}
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func addrValue(a netip.Addr) endValue {
	return endValue{a.String(), func(e *rule.Endpoint) { e.Addr = a }}
}

// addrValues are the first address of every prefix and the one behind its last.
func addrValues(m *rule.EndpointMatch, lists map[string]*rule.List) (out []endValue) {
	add := func(p netip.Prefix) {
		out = append(out, addrValue(p.Masked().Addr()))
		last := p.Masked().Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		if end, ok := netip.AddrFromSlice(last); ok && end.Next().IsValid() {
			out = append(out, addrValue(end.Next()))
		}
	}
	for _, h := range m.Host {
		switch l := lists[h.Name]; {
		case h.Kind == rule.HostNet:
			add(h.Net)
		case h.Kind == rule.HostList && l != nil:
			n := 0
			for p := range l.Nets() {
				if n++; n > maxListItems {
					break
				}
				add(p)
			}
		}
	}
	return out
}

func portText(e *rule.Endpoint) string {
	if !e.HasPort {
		return ""
	}
	return strconv.Itoa(int(e.Port))
}

func portValue(p uint16) endValue {
	return endValue{strconv.Itoa(int(p)), func(e *rule.Endpoint) { e.Port, e.HasPort = p, true }}
}

func portValues(m *rule.EndpointMatch) (out []endValue) {
	for _, r := range m.Port {
		out = append(out, portValue(r.First))
		if r.Last < 65535 {
			out = append(out, portValue(r.Last+1))
		}
	}
	return out
}

func namesText(e *rule.Endpoint) string {
	texts := make([]string, len(e.Names))
	for i, n := range e.Names {
		texts[i] = nameText(n.Domain, n.Trusted)
	}
	return strings.Join(texts, ", ")
}

func nameText(domain string, trusted bool) string {
	if trusted {
		return domain
	}
	return domain + " (not trusted)"
}

// nameValue makes the peer known by one name only.
func nameValue(domain string, trusted bool) endValue {
	n := rule.Name{Domain: domain, Trusted: trusted, Source: event.NameDNS}
	if !trusted {
		n.Source = event.NameSNI
	}
	return endValue{nameText(domain, trusted), func(e *rule.Endpoint) { e.Names = []rule.Name{n} }}
}

// nameValues are the names that a condition means, trusted and not. Those that
// the end has come first: that they become trusted is the smaller change.
func nameValues(m *rule.EndpointMatch, lists map[string]*rule.List, is *rule.Endpoint) (out []endValue) {
	for _, n := range is.Names {
		if len(m.Host) > 0 {
			out = append(out, nameValue(n.Domain, true))
		}
	}
	add := func(h rule.Host) {
		var domains []string
		switch h.Kind {
		case rule.HostName:
			domains = []string{h.Name}
		case rule.HostBelow:
			domains = []string{"x." + h.Name}
		case rule.HostSuffix:
			domains = []string{h.Name, "x." + h.Name}
		}
		for _, domain := range domains {
			out = append(out, nameValue(domain, true), nameValue(domain, false))
		}
	}
	for _, h := range m.Host {
		l := lists[h.Name]
		if h.Kind != rule.HostList || l == nil {
			add(h)
			continue
		}
		n := 0
		for item := range l.Names() {
			if n++; n > maxListItems {
				break
			}
			add(item)
		}
	}
	return out
}

func countryValue(code string) endValue {
	return endValue{code, func(e *rule.Endpoint) { e.Country = code }}
}
