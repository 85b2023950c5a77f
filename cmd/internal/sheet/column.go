package sheet

import (
	"fmt"
	"slices"
	"strings"

	"snitch/monitor/event"
)

// Column is a field of a connection. It is immutable.
type Column struct {
	Name string // as in JSON, with parent_ or grandparent_ before it
	of   func(*event.Record) string
}

// Text is the value, as hostile as it is.
func (c Column) Text(r *event.Record) string { return c.of(r) }

// Columns are the fields of a Record, with those of the parent and the
// grandparent.
func Columns() []Column {
	out := []Column{
		{"time", func(r *event.Record) string { return when(r.Time) }}, {"last", func(r *event.Record) string { return when(r.Last) }},
		{"action", func(r *event.Record) string { return r.Action }}, {"would", func(r *event.Record) string { return r.Would }},
		{"rule", func(r *event.Record) string { return r.Rule }}, {"matches", func(r *event.Record) string { return strings.Join(r.Matches, " ") }},
		{"mode", func(r *event.Record) string { return r.Mode }}, {"revision", func(r *event.Record) string { return r.Revision }},
		{"reason", func(r *event.Record) string { return r.Reason }},
		{"pid", func(r *event.Record) string { return number(r.PID) }},
	}
	for _, level := range []struct {
		prefix string
		of     func(*event.Record) *event.Ancestor
	}{
		{"", func(r *event.Record) *event.Ancestor { return &r.Ancestor }},
		{"parent_", func(r *event.Record) *event.Ancestor { return r.Parent }},
		{"grandparent_", func(r *event.Record) *event.Ancestor { return r.Grandparent }},
	} {
		out = append(out, processColumns(level.prefix, level.of)...)
	}
	return append(out,
		Column{"script", func(r *event.Record) string { return r.Script }}, Column{"script_sha256", func(r *event.Record) string { return r.ScriptSHA256 }},
		Column{"uid", func(r *event.Record) string { return number(r.UID) }}, Column{"user", func(r *event.Record) string { return r.User }},
		Column{"container", func(r *event.Record) string { return r.Container }}, Column{"unit", func(r *event.Record) string { return r.Unit }},
		Column{"cgroup", func(r *event.Record) string { return r.Cgroup }}, Column{"netns", func(r *event.Record) string { return number(r.NetNS) }},
		Column{"direction", func(r *event.Record) string { return r.Direction }}, Column{"family", func(r *event.Record) string { return r.Family }},
		Column{"proto", func(r *event.Record) string { return r.Proto }},
		Column{"laddr", func(r *event.Record) string { return r.LAddr }}, Column{"lport", func(r *event.Record) string { return number(r.LPort) }},
		Column{"raddr", func(r *event.Record) string { return r.RAddr }}, Column{"rport", func(r *event.Record) string { return number(r.RPort) }},
		Column{"domain", func(r *event.Record) string { return r.Domain }}, Column{"domain_source", func(r *event.Record) string { return r.DomainSource }},
		Column{"sni", func(r *event.Record) string { return r.SNI }}, Column{"country", func(r *event.Record) string { return r.Country }},
		Column{"sent", func(r *event.Record) string { return number(r.Sent) }}, Column{"received", func(r *event.Record) string { return number(r.Received) }},
		Column{"packets", func(r *event.Record) string { return number(r.Packets) }}, Column{"result", func(r *event.Record) string { return r.Result }},
		Column{"novelty", func(r *event.Record) string { return strings.Join(r.Novelty, " ") }})
}

func processColumns(prefix string, of func(*event.Record) *event.Ancestor) []Column {
	var out []Column
	for _, f := range []struct {
		name string
		get  func(*event.Ancestor) string
	}{
		{"exe", func(a *event.Ancestor) string { return a.Exe }}, {"exe_view", func(a *event.Ancestor) string { return a.ExeView }},
		{"name", func(a *event.Ancestor) string { return a.Name }}, {"cmdline", func(a *event.Ancestor) string { return a.Cmdline }},
		{"sha256", func(a *event.Ancestor) string { return a.SHA256 }}, {"package", func(a *event.Ancestor) string { return a.Package }},
	} {
		out = append(out, Column{prefix + f.name, func(r *event.Record) string {
			if a := of(r); a != nil {
				return f.get(a)
			}
			return ""
		}})
	}
	return out
}

// Pick finds columns by their names. Each may be named once.
func Pick(names []string) ([]Column, error) {
	all := Columns()
	out := make([]Column, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(all, func(c Column) bool { return c.Name == name })
		switch {
		case i < 0:
			return nil, fmt.Errorf("there is no column %q", name)
		case slices.ContainsFunc(out, func(c Column) bool { return c.Name == name }):
			return nil, fmt.Errorf("column %q is named twice", name)
		}
		out = append(out, all[i])
	}
	return out, nil
}
