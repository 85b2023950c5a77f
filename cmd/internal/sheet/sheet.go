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

// Records writes connections. It belongs to one goroutine.
type Records struct {
	out     *csv.Writer
	columns []Column
	line    []string
}

// NewRecords writes the header of these columns, of all if none is named.
func NewRecords(w io.Writer, picked ...Column) (*Records, error) {
	if len(picked) == 0 {
		picked = Columns()
	}
	r := &Records{out: newWriter(w), columns: picked}
	for _, c := range r.columns {
		r.line = append(r.line, c.Name)
	}
	return r, wrap(r.out.Write(r.line))
}

// Write writes one connection; some of it may wait until Flush.
func (r *Records) Write(rec *event.Record) error {
	for i, c := range r.columns {
		r.line[i] = cell(c.of(rec))
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
