package sheet

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"snitch/cmd/internal/text"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// cell makes text harmless.
func cell(s string) string {
	s = text.Clean(s)
	if s != "" && strings.ContainsRune("=+-@|%", rune(s[0])) {
		return "'" + s
	}
	return s
}

// newWriter makes a writer of lines that end as RFC 4180 wants.
func newWriter(w io.Writer) *csv.Writer {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	return out
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func number[N uint16 | uint32 | uint64](n N) string { return strconv.FormatUint(uint64(n), 10) }

// column is a column of a sheet of connections.
type column struct {
	name string
	of   func(*event.Record) string
}

// columns are the fields of a Record, by their names in JSON, with those of
// the parent and the grandparent.
func columns() []column {
	out := []column{
		{"time", func(r *event.Record) string { return when(r.Time) }}, {"last", func(r *event.Record) string { return when(r.Last) }},
		{"action", func(r *event.Record) string { return cell(r.Action) }}, {"would", func(r *event.Record) string { return cell(r.Would) }},
		{"rule", func(r *event.Record) string { return cell(r.Rule) }}, {"matches", func(r *event.Record) string { return cell(strings.Join(r.Matches, " ")) }},
		{"mode", func(r *event.Record) string { return cell(r.Mode) }}, {"revision", func(r *event.Record) string { return cell(r.Revision) }},
		{"reason", func(r *event.Record) string { return cell(r.Reason) }},
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
		column{"script", func(r *event.Record) string { return cell(r.Script) }}, column{"script_sha256", func(r *event.Record) string { return cell(r.ScriptSHA256) }},
		column{"uid", func(r *event.Record) string { return number(r.UID) }}, column{"user", func(r *event.Record) string { return cell(r.User) }},
		column{"container", func(r *event.Record) string { return cell(r.Container) }}, column{"unit", func(r *event.Record) string { return cell(r.Unit) }},
		column{"cgroup", func(r *event.Record) string { return cell(r.Cgroup) }}, column{"netns", func(r *event.Record) string { return number(r.NetNS) }},
		column{"direction", func(r *event.Record) string { return cell(r.Direction) }}, column{"family", func(r *event.Record) string { return cell(r.Family) }},
		column{"proto", func(r *event.Record) string { return cell(r.Proto) }},
		column{"laddr", func(r *event.Record) string { return cell(r.LAddr) }}, column{"lport", func(r *event.Record) string { return number(r.LPort) }},
		column{"raddr", func(r *event.Record) string { return cell(r.RAddr) }}, column{"rport", func(r *event.Record) string { return number(r.RPort) }},
		column{"domain", func(r *event.Record) string { return cell(r.Domain) }}, column{"domain_source", func(r *event.Record) string { return cell(r.DomainSource) }},
		column{"sni", func(r *event.Record) string { return cell(r.SNI) }}, column{"country", func(r *event.Record) string { return cell(r.Country) }},
		column{"sent", func(r *event.Record) string { return number(r.Sent) }}, column{"received", func(r *event.Record) string { return number(r.Received) }},
		column{"packets", func(r *event.Record) string { return number(r.Packets) }}, column{"result", func(r *event.Record) string { return cell(r.Result) }},
		column{"novelty", func(r *event.Record) string { return cell(strings.Join(r.Novelty, " ")) }})
}

func processColumns(prefix string, of func(*event.Record) *event.Ancestor) []column {
	var out []column
	for _, f := range []struct {
		name string
		get  func(*event.Ancestor) string
	}{
		{"exe", func(a *event.Ancestor) string { return a.Exe }}, {"exe_view", func(a *event.Ancestor) string { return a.ExeView }},
		{"name", func(a *event.Ancestor) string { return a.Name }}, {"cmdline", func(a *event.Ancestor) string { return a.Cmdline }},
		{"sha256", func(a *event.Ancestor) string { return a.SHA256 }}, {"package", func(a *event.Ancestor) string { return a.Package }},
	} {
		out = append(out, column{prefix + f.name, func(r *event.Record) string {
			if a := of(r); a != nil {
				return cell(f.get(a))
			}
			return ""
		}})
	}
	return out
}

// Records writes connections. It belongs to one goroutine.
type Records struct {
	out     *csv.Writer
	columns []column
	line    []string
}

// NewRecords writes the header.
func NewRecords(w io.Writer) (*Records, error) {
	r := &Records{out: newWriter(w), columns: columns()}
	for _, c := range r.columns {
		r.line = append(r.line, c.name)
	}
	return r, wrap(r.out.Write(r.line))
}

// Write writes one connection; some of it may wait until Flush.
func (r *Records) Write(rec *event.Record) error {
	for i, c := range r.columns {
		r.line[i] = c.of(rec)
	}
	return wrap(r.out.Write(r.line))
}

// Flush writes what waits.
func (r *Records) Flush() error {
	r.out.Flush()
	return wrap(r.out.Error())
}

// Groups writes groups, a line each, without their total.
func Groups(w io.Writer, g *query.Groups) error {
	out := newWriter(w)
	header := append([]string{}, g.By...)
	if err := out.Write(append(header, "connections", "sent", "received", "denied", "would_deny", "first", "last")); err != nil {
		return wrap(err)
	}
	for i := range g.Rows {
		row := &g.Rows[i]
		var line []string
		for _, k := range row.Keys {
			line = append(line, cell(k))
		}
		line = append(line, number(row.Connections), number(row.Sent), number(row.Received), number(row.Denied), number(row.WouldDeny), when(row.First), when(row.Last))
		if err := out.Write(line); err != nil {
			return wrap(err)
		}
	}
	out.Flush()
	return wrap(out.Error())
}

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}
