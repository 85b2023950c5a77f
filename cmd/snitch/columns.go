package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"snitch/cmd/internal/sheet"
	"snitch/cmd/internal/text"
	"snitch/monitor/event"
)

// columnsFlag adds --columns: fields of connections in the order that is wanted.
func columnsFlag(cmd *cobra.Command, value *[]string, usage string) {
	cmd.Flags().StringSliceVar(value, "columns", nil, usage)
	complete(cmd, "columns", func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		before := word[:strings.LastIndexByte(word, ',')+1]
		var out []string
		for _, c := range sheet.Columns() {
			out = append(out, before+c.Name)
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}

// pickColumns finds the columns of a flag; none is all.
func pickColumns(names []string) ([]sheet.Column, error) {
	picked, err := sheet.Pick(names)
	if err == nil {
		return picked, nil
	}
	var all []string
	for _, c := range sheet.Columns() {
		all = append(all, c.Name)
	}
	return nil, usageError(err, "columns are "+strings.Join(all, ", "))
}

// Widths that most values of a column have room in, in cells.
const (
	numberWidth  = 8
	addressWidth = 15
	wordWidth    = 12
	pathWidth    = 32
)

// lines prints chosen columns for people and for tools that cut at white
// space: aligned where the values are not too long, never cut, an empty value
// as "-". It belongs to one goroutine.
type lines struct {
	out     io.Writer
	form    string // of times
	columns []sheet.Column
	headed  bool
}

func (l *lines) row(r *event.Record) error {
	head := ""
	if !l.headed {
		l.headed = true
		head = l.line(func(c sheet.Column) string { return strings.ToUpper(c.Name) })
	}
	return write(l.out, head+l.line(func(c sheet.Column) string { return l.value(c, r) }))
}

// value is what people read: local times, sizes with units.
func (l *lines) value(c sheet.Column, r *event.Record) string {
	switch c.Name {
	case "time":
		return r.Time.Local().Format(l.form)
	case "last":
		return r.Last.Local().Format(l.form)
	case "sent":
		return text.Bytes(r.Sent)
	case "received":
		return text.Bytes(r.Received)
	}
	if v := text.Clean(c.Text(r)); v != "" {
		return v
	}
	return "-"
}

func (l *lines) line(value func(sheet.Column) string) string {
	var b strings.Builder
	for i, c := range l.columns {
		v := value(c)
		b.WriteString(v)
		if i == len(l.columns)-1 {
			break
		}
		b.WriteString(strings.Repeat(" ", max(0, l.width(c)-text.Width(v))+2))
	}
	b.WriteByte('\n')
	return b.String()
}

func (l *lines) width(c sheet.Column) int {
	switch c.Name {
	case "time", "last":
		return len(l.form)
	case "pid", "uid", "netns", "lport", "rport", "packets", "sent", "received", "family", "proto", "country", "mode", "action", "would":
		return numberWidth
	case "laddr", "raddr":
		return addressWidth
	case "domain", "sni", "cmdline", "script", "cgroup", "reason":
		return pathWidth
	}
	if strings.HasSuffix(c.Name, "exe") || strings.HasSuffix(c.Name, "cmdline") {
		return pathWidth
	}
	return wordWidth
}
