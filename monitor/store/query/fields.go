package query

import (
	"strings"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// field is one thing that a filter may ask about. match and sql are two forms
// of one question and must agree: match for a record in memory, sql for the
// row c of table connection. What sql returns is never NULL.
type field struct {
	name, help string
	substring  bool // whether "~" is allowed
	parse      func(value string, part bool) (it item, problem, hint string)
	match      func(it *item, r *event.Record) bool
	sql        func(b *builder, items []item) string
	group      *grouping // nil: cannot be grouped by
	// reads are the columns that sql reads, none when blocks have them not all;
	// test is match for their values, where they are not one interned number.
	reads []column
	test  func(it *item, v []int64) bool
}

// fields builds the list; it is small and built anew for each Parse.
func fields() []field {
	var out []field
	for _, l := range levels() {
		out = append(out, processFields(l)...)
	}
	out = append(out, scriptFields()...)
	out = append(out, peerFields()...)
	out = append(out, contextFields()...)
	out = append(out, connectionFields()...)
	out = append(out, decisionFields()...)
	for i := range out {
		if f := &out[i]; f.group != nil {
			f.reads = f.group.cols
		}
	}
	return out
}

// level is a process of the lineage: itself, its parent, its grandparent, or
// any ancestor.
type level struct {
	prefix string
	of     string // for help
	up     int    // generations, -1 for any ancestor
}

func levels() []level {
	return []level{{"", "the process", 0}, {"parent.", "its parent", 1},
		{"grandparent.", "its grandparent", 2}, {"ancestor.", "any ancestor", -1}}
}

// any reports whether f holds for the level's process. A missing parent is
// like one whose every fact is empty; no ancestors at all match nothing.
func (l level) any(r *event.Record, f func(*event.Ancestor) bool) bool {
	orEmpty := func(a *event.Ancestor) bool {
		if a == nil {
			a = &event.Ancestor{}
		}
		return f(a)
	}
	switch l.up {
	case 0:
		return f(&r.Ancestor)
	case 1:
		return orEmpty(r.Parent)
	case 2:
		return orEmpty(r.Grandparent)
	}
	for _, a := range []*event.Ancestor{r.Parent, r.Grandparent} {
		if a != nil && f(a) {
			return true
		}
	}
	for i := range r.Ancestors {
		if f(&r.Ancestors[i]) {
			return true
		}
	}
	return false
}

// where selects the rows whose process at level l fulfils a condition on table
// process; empty says whether a missing one does.
func (l level) where(condition string, empty bool) string {
	set := "SELECT id FROM process WHERE " + condition
	if l.up < 0 {
		return "ifnull(c.process IN (WITH RECURSIVE below(id) AS (SELECT id FROM process WHERE parent IN (" + set + ")" +
			" UNION SELECT p.id FROM below JOIN process p ON ifnull(p.parent, 0) = below.id) SELECT id FROM below), 0)"
	}
	for range l.up {
		top := ""
		if empty {
			top = "parent IS NULL OR "
		}
		set = "SELECT id FROM process WHERE " + top + "parent IN (" + set + ")"
	}
	return reference("c.process", set, empty)
}

// reference asks whether column is among the numbers that set selects, or
// empty where empty counts.
func reference(column, set string, empty bool) string {
	if empty {
		return "(" + column + " IS NULL OR " + column + " IN (" + set + "))"
	}
	return "(" + column + " IS NOT NULL AND " + column + " IN (" + set + "))"
}

func processFields(l level) []field {
	type get = func(*event.Ancestor) string
	build := func(name, help string, parse parser, get get, sql func(b *builder, items []item) string) field {
		return field{name: l.prefix + name, help: help + " of " + l.of, substring: true, parse: parse,
			match: func(it *item, r *event.Record) bool {
				return l.any(r, func(a *event.Ancestor) bool { return anyMatch(it.globs, get(a)) })
			},
			sql:   func(b *builder, items []item) string { return l.where(sql(b, items), matchesEmpty(items)) },
			group: processGrouping(name, l.up), reads: []column{colProcess}}
	}
	executable := func(column string) func(*builder, []item) string {
		return func(b *builder, items []item) string {
			return "executable IN (SELECT id FROM executable WHERE " + b.text(column, items) + ")"
		}
	}
	text := func(column string) func(*builder, []item) string {
		return func(b *builder, items []item) string {
			return column + " IN (" + b.texts("process", column, items) + ")"
		}
	}
	sha := build("sha256", "SHA-256 of the executed file, or its first digits,", parseHex,
		func(a *event.Ancestor) string { return a.SHA256 }, executable("lower(hex(sha256))"))
	sha.substring = false
	return []field{
		build("exe", "path of the executed file", parseText(nil), func(a *event.Ancestor) string { return a.Exe }, executable("path")),
		build("package", "package (\"modified:NAME\", none; empty: unknown) that owns the executed file", parseText(nil),
			func(a *event.Ancestor) string { return a.Package }, executable("package")),
		build("exe_view", "mount namespace of that path", parseText(nil), func(a *event.Ancestor) string { return a.ExeView }, executable("view")),
		build("name", "name", parseText(nil), func(a *event.Ancestor) string { return a.Name }, text("name")),
		build("cmdline", "command line", parseText(nil), func(a *event.Ancestor) string { return a.Cmdline }, text("cmdline")),
		sha,
	}
}

func scriptFields() []field {
	in := func(column string) func(*builder, []item) string {
		return func(b *builder, items []item) string {
			empty := matchesEmpty(items)
			set := "SELECT id FROM script WHERE " + b.text(column, items)
			return level{}.where(reference("script", set, empty), empty)
		}
	}
	return []field{
		textField("script", "path of the script that an interpreter runs", nil,
			func(r *event.Record) string { return r.Script }, in("path"), scriptGrouping(func(s scriptFacts) int64 { return s.path })),
		{name: "script_sha256", help: "SHA-256 of the script, or its first digits", parse: parseHex,
			match: func(it *item, r *event.Record) bool { return anyMatch(it.globs, r.ScriptSHA256) }, sql: in("lower(hex(sha256))"),
			group: scriptGrouping(func(s scriptFacts) int64 { return s.sha })},
	}
}

// textField is a field whose value is one string of the record.
func textField(name, help string, normal func(string) string, get func(*event.Record) string, sql func(*builder, []item) string, group *grouping) field {
	return field{name: name, help: help, substring: true, parse: parseText(normal), sql: sql, group: group,
		match: func(it *item, r *event.Record) bool { return anyMatch(it.globs, get(r)) }}
}

func peerFields() []field {
	domain := func(name, help string, c column, dim schema.Dim, get func(*event.Record) string) field {
		return field{name: name, help: help, substring: true, parse: parseDomain, group: plain(c, domainLabels, dim),
			match: func(it *item, r *event.Record) bool { return anyMatch(it.globs, get(r)) },
			sql: func(b *builder, items []item) string {
				return reference("c."+name, "SELECT id FROM domain WHERE "+b.text("name", items), matchesEmpty(items))
			}}
	}
	return []field{
		addrField("raddr", "remote address, network (CIDR) or range", func(r *event.Record) string { return r.RAddr }, plain(colRAddr, addressLabels, schema.DimAddress)),
		numberField("rport", "remote port or range", 65535, func(r *event.Record) uint64 { return uint64(r.RPort) }, "c.rport", plain(colRPort, codeLabels(decimal), schema.DimInvalid)),
		addrField("laddr", "local address, network (CIDR) or range", func(r *event.Record) string { return r.LAddr }, plain(colLAddr, addressLabels, schema.DimInvalid)),
		numberField("lport", "local port or range", 65535, func(r *event.Record) uint64 { return uint64(r.LPort) }, "c.lport", plain(colLPort, codeLabels(decimal), schema.DimInvalid)),
		serviceField(),
		domain("domain", "name of the remote side; .example.org: it and all below", colDomain, schema.DimDomain, func(r *event.Record) string { return r.Domain }),
		domain("sni", "name that the client claimed in TLS or QUIC", colSNI, schema.DimInvalid, func(r *event.Record) string { return r.SNI }),
		textField("country", "country of the remote address, two letters", strings.ToUpper,
			func(r *event.Record) string { return r.Country }, func(b *builder, items []item) string {
				return reference("c.country", b.texts("connection", "country", items), matchesEmpty(items))
			}, plain(colCountry, textLabels, schema.DimCountry)),
	}
}

func contextFields() []field {
	context := func(condition string) string {
		return "c.context IN (SELECT id FROM context WHERE " + condition + ")"
	}
	cgroup := func(name, help, column string, get func(*event.Record) string, word func(cgroupFacts) int64) field {
		return textField(name, help, nil, get, func(b *builder, items []item) string {
			return context("cgroup IN (SELECT id FROM cgroup WHERE " + b.text(column, items) + ")")
		}, cgroupGrouping(word))
	}
	number := func(name, help string, get func(*event.Record) uint64, group *grouping) field {
		f := numberField(name, help, 1<<32-1, get, name, group)
		columns := f.sql
		f.sql = func(b *builder, items []item) string { return context(columns(b, items)) }
		return f
	}
	return []field{
		textField("host", "host that recorded it, in a record of several (snitch web --db); empty in a host's own", nil, func(r *event.Record) string { return r.Host },
			func(b *builder, items []item) string {
				return context(b.text("ifnull((SELECT value FROM text WHERE id = host), '')", items))
			}, contextGrouping(wordLabels{}, schema.DimInvalid, func(x contextFacts) int64 { return x.host })),
		number("uid", "user id or range", func(r *event.Record) uint64 { return uint64(r.UID) },
			contextGrouping(userLabels{}, schema.DimUID, func(x contextFacts) int64 { return x.uid })),
		textField("user", "user name", nil, func(r *event.Record) string { return r.User },
			func(b *builder, items []item) string {
				return context(b.text("coalesce((SELECT value FROM text WHERE id = user), snitch_user(uid))", items))
			}, contextGrouping(wordLabels{}, schema.DimInvalid, func(x contextFacts) int64 { return x.user })),
		cgroup("unit", "systemd unit", "unit", func(r *event.Record) string { return r.Unit }, func(g cgroupFacts) int64 { return g.unit }),
		cgroup("container", "container", "container", func(r *event.Record) string { return r.Container }, func(g cgroupFacts) int64 { return g.container }),
		cgroup("cgroup", "control group", "path", func(r *event.Record) string { return r.Cgroup }, func(g cgroupFacts) int64 { return g.path }),
		number("netns", "network namespace (inode number, as lsns shows it)", func(r *event.Record) uint64 { return uint64(r.NetNS) },
			contextGrouping(codeLabels(decimal), schema.DimInvalid, func(x contextFacts) int64 { return x.netns })),
		numberField("pid", "process id", 1<<32-1, func(r *event.Record) uint64 { return uint64(r.PID) }, "c.pid", plain(colPID, codeLabels(decimal), schema.DimInvalid)),
	}
}
