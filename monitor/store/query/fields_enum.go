package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// named is a value of an enumeration.
type named struct {
	name string
	code int64
}

// enumField is a field with few possible values, each with a name.
func enumField(name, help string, values []named, get func(*event.Record) string, sql func(list string) string, group *grouping) field {
	choices := make([]string, len(values))
	for i, v := range values {
		choices[i] = v.name
	}
	return field{name: name, help: help + ": " + strings.TrimPrefix(strings.Join(choices, ", "), ", "), group: group,
		parse: func(value string, _ bool) (item, string, string) {
			i := slices.Index(choices, value)
			if i < 0 {
				return item{}, fmt.Sprintf("no %s %q", name, shorten(value)), suggest(value, choices)
			}
			return item{name: value, codes: []int64{values[i].code}}, "", ""
		},
		match: func(it *item, r *event.Record) bool { return get(r) == it.name },
		test:  func(it *item, v []int64) bool { return v[0] == it.codes[0] },
		sql:   func(b *builder, items []item) string { return sql(b.codes(items)) }}
}

// enumerate lists the values of an enum from first on, up to the first
// without a name.
func enumerate[E interface {
	~uint8
	fmt.Stringer
}](first E) (out []named) {
	for e := first; !strings.HasPrefix(e.String(), "unknown-"); e++ {
		out = append(out, named{e.String(), int64(e)})
	}
	return out
}

func connectionFields() []field {
	column := func(name string) func(string) string {
		return func(list string) string { return "c." + name + " IN (" + list + ")" }
	}
	return []field{
		enumField("direction", "who began", enumerate(event.Out), func(r *event.Record) string { return r.Direction }, column("direction"),
			plain(colDirection, enumLabels[event.Direction](), schema.DimInvalid)),
		enumField("result", "how far it came", enumerate(event.ResultPending), func(r *event.Record) string { return r.Result }, column("result"),
			plain(colResult, enumLabels[event.Result](), schema.DimInvalid)),
		enumField("domain_source", "where the name came from (empty: there is none)", append([]named{{"", int64(event.NameNone)}}, enumerate(event.NameDNS)...),
			func(r *event.Record) string { return r.DomainSource }, column("domain_source"), plain(colSource, enumLabels[event.NameSource](), schema.DimInvalid)),
		enumField("existing", "whether the socket is older than the daemon", []named{{"no", 0}, {"yes", 1}}, func(r *event.Record) string {
			if r.Existing {
				return "yes"
			}
			return "no"
		}, column("existing"), plain(colExisting, codeLabels(func(n int64) string {
			if n != 0 {
				return "yes"
			}
			return "no"
		}), schema.DimInvalid)),
		{name: "family", help: "ipv4, ipv6, packet, vsock, xdp, af-N", parse: parseFamily,
			group: plain(colFamily, codeLabels(func(n int64) string { return event.FamilyName(uint16(n)) }), schema.DimInvalid),
			match: func(it *item, r *event.Record) bool { return r.Family == it.name },
			test:  func(it *item, v []int64) bool { return v[0] == it.codes[0] },
			sql:   func(b *builder, items []item) string { return "c.family IN (" + b.codes(items) + ")" }},
		{name: "proto", help: "tcp, udp, udplite, icmp, icmpv6, sctp, mptcp, raw, ip-N, or a family other than IP", parse: parseProto, group: protoGrouping(),
			match: func(it *item, r *event.Record) bool { return r.Proto == it.name },
			test:  func(it *item, v []int64) bool { return it.hasProto(v[0], v[1]) },
			sql:   protoSQL},
	}
}

func decisionFields() []field {
	decision := func(condition string) string {
		return "c.decision IN (SELECT id FROM decision WHERE " + condition + ")"
	}
	in := func(name string) func(string) string {
		return func(list string) string { return decision(name + " IN (" + list + ")") }
	}
	text := func(name, help string, get func(*event.Record) string, group *grouping) field {
		return textField(name, help, nil, get, func(b *builder, items []item) string {
			return decision(name + " IN (" + b.texts("decision", name, items) + ")")
		}, group)
	}
	action := enumLabels[event.Action]()
	list := func(name, help string, reads []column, get func(*event.Record) []string, sql func(set string, empty bool) string) field {
		return field{name: name, help: help + "; empty: none", substring: true, parse: parseText(nil), reads: reads,
			match: func(it *item, r *event.Record) bool { return listMatch(it.globs, get(r)) },
			sql: func(b *builder, items []item) string {
				return sql("SELECT id FROM list WHERE "+b.listed(items), matchesEmpty(items))
			}}
	}
	return []field{
		enumField("action", "what happened", enumerate(event.ActionNone), func(r *event.Record) string { return r.Action }, in("action"),
			decisionGrouping(action, schema.DimAction, func(d decisionFacts) int64 { return int64(d.action) })),
		enumField("would", "what the rules said", enumerate(event.ActionNone), func(r *event.Record) string { return r.Would }, in("would"),
			decisionGrouping(action, schema.DimInvalid, func(d decisionFacts) int64 { return int64(d.would) })),
		enumField("mode", "of the daemon", enumerate(event.ModeAudit), func(r *event.Record) string { return r.Mode }, in("mode"),
			decisionGrouping(enumLabels[event.Mode](), schema.DimInvalid, func(d decisionFacts) int64 { return int64(d.mode) })),
		text("rule", "id of the rule that won", func(r *event.Record) string { return r.Rule },
			ruleGrouping()),
		text("revision", "of the rule set", func(r *event.Record) string { return r.Revision },
			decisionGrouping(textLabels, schema.DimInvalid, func(d decisionFacts) int64 { return d.revision })),
		list("matches", "id of any rule that matched", []column{colDecision}, func(r *event.Record) []string { return r.Matches },
			func(set string, _ bool) string { return decision("matches IN (" + set + ")") }),
		list("novelty", "what was new", nil, func(r *event.Record) []string { return r.Novelty },
			func(set string, empty bool) string { return reference("c.novelty", set, empty) }),
	}
}

// listMatch reports whether a member matches; an empty list is like one with
// an empty member.
func listMatch(globs []glob, list []string) bool {
	if len(list) == 0 {
		return anyMatch(globs, "")
	}
	return slices.ContainsFunc(list, func(s string) bool { return anyMatch(globs, s) })
}

func parseFamily(value string, _ bool) (item, string, string) {
	choices := []string{"ipv4", "ipv6", "packet", "vsock", "xdp"}
	for _, n := range []uint16{event.AFInet, event.AFInet6, event.AFPacket, event.AFVsock, event.AFXDP} {
		if event.FamilyName(n) == value {
			return item{name: value, codes: []int64{int64(n)}}, "", ""
		}
	}
	n, ok := numbered(value, "af-")
	if !ok {
		return item{}, fmt.Sprintf("no family %q", shorten(value)), suggest(value, append(choices, "af-N"))
	}
	return item{name: event.FamilyName(n), codes: []int64{int64(n)}}, "", ""
}

// parseProto reads a protocol of IP, or a family that has none of those.
// codes are the protocol, or -1 and the family.
func parseProto(value string, _ bool) (item, string, string) {
	choices := make([]string, 0, 16)
	for _, n := range []uint16{event.ProtoTCP, event.ProtoUDP, event.ProtoUDPLite, event.ProtoICMP, event.ProtoICMPv6,
		event.ProtoSCTP, event.ProtoMPTCP, event.ProtoRaw} {
		name := event.ProtoName(event.AFInet, n)
		if name == value {
			return item{name: name, codes: []int64{int64(n)}}, "", ""
		}
		choices = append(choices, name)
	}
	if n, ok := numbered(value, "ip-"); ok {
		return item{name: event.ProtoName(event.AFInet, n), codes: []int64{int64(n)}}, "", ""
	}
	it, problem, _ := parseFamily(value, false)
	if problem != "" || it.codes[0] == event.AFInet || it.codes[0] == event.AFInet6 {
		return item{}, fmt.Sprintf("no protocol %q", shorten(value)), suggest(value, append(choices, "packet", "vsock", "xdp", "ip-N"))
	}
	return item{name: it.name, codes: []int64{-1, it.codes[0]}}, "", ""
}

// hasProto is protoSQL for a row of a block.
func (it *item) hasProto(family, proto int64) bool {
	if it.codes[0] >= 0 {
		return (family == event.AFInet || family == event.AFInet6) && proto == it.codes[0]
	}
	return family == it.codes[1]
}

func protoSQL(b *builder, items []item) string {
	return b.either(items, func(it *item) string {
		if it.codes[0] >= 0 {
			return fmt.Sprintf("(c.family IN (%d, %d) AND c.proto = %s)", event.AFInet, event.AFInet6, b.arg(it.codes[0]))
		}
		return "c.family = " + b.arg(it.codes[1])
	})
}

// numbered reads prefix and a number of 16 bits.
func numbered(value, prefix string) (uint16, bool) {
	digits, ok := strings.CutPrefix(value, prefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), err == nil
}

// serviceField is the protocol and the port of the service: the remote port of
// who began, else the local one.
func serviceField() field {
	port := func(r *event.Record) uint16 {
		if r.Direction == event.Out.String() {
			return r.RPort
		}
		return r.LPort
	}
	return field{name: "service", help: "port of the service, as tcp/443, 443 or udp/6000-7000", parse: parseService, group: serviceGrouping(),
		match: func(it *item, r *event.Record) bool {
			n := uint64(port(r))
			return it.lo <= n && n <= it.hi && (it.name == "" || it.name == r.Proto)
		},
		test: func(it *item, v []int64) bool {
			port := v[4]
			if v[0] != int64(event.Out) {
				port = v[3]
			}
			return it.lo <= uint64(port) && uint64(port) <= it.hi && (it.name == "" || it.hasProto(v[1], v[2]))
		},
		sql: func(b *builder, items []item) string {
			return b.either(items, func(it *item) string {
				s := fmt.Sprintf("(CASE c.direction WHEN %d THEN c.rport ELSE c.lport END BETWEEN %s AND %s)", event.Out, b.arg(int64(it.lo)), b.arg(int64(it.hi)))
				if it.name != "" {
					s = "(" + s + " AND " + protoSQL(b, []item{*it}) + ")"
				}
				return s
			})
		}}
}

// parseService reads [PROTO/]PORT or [PROTO/]LOW-HIGH.
func parseService(value string, _ bool) (item, string, string) {
	proto, ports, both := strings.Cut(value, "/")
	if !both {
		proto, ports = "", value
	}
	it, problem, hint := parseNumbers("service", ports, 65535)
	if problem != "" || !both {
		return it, problem, hint
	}
	p, problem, hint := parseProto(proto, false)
	it.name, it.codes = p.name, p.codes
	return it, problem, hint
}
