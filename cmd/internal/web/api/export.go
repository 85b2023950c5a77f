package api

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// maxExport bounds the rows of one export.
const maxExport = 1_000_000

// export sends groups (with "by") or connections as a file, CSV or JSON lines.
// Rows are sent as they are read.
func (h *Handler) export(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), longWithin)
	defer cancel()
	select {
	case h.long <- struct{}{}:
		defer func() { <-h.long }()
	case <-ctx.Done():
		h.refuse(w, r, ctx.Err())
		return
	}
	format := r.URL.Query().Get("format")
	if format != "csv" && format != "json" {
		h.refuse(w, r, wrong(fmt.Errorf("format: want csv or json")))
		return
	}
	db, err := h.cfg.DB(ctx)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	out := &export{w: w, format: format}
	if r.URL.Query().Get("by") != "" {
		err = out.groups(ctx, db, read(r.URL.Query()))
	} else {
		err = out.connections(ctx, db, read(r.URL.Query()))
	}
	switch {
	case err == nil:
	case !out.begun:
		h.refuse(w, r, err)
	default:
		// The file has begun: a broken connection says that it is not whole.
		h.cfg.Log.Warn("an export ended early", "component", "web", "error", err)
		panic(http.ErrAbortHandler)
	}
}

type export struct {
	w      http.ResponseWriter
	format string
	begun  bool
	csv    *csv.Writer
	rows   int
}

func (e *export) begin(name string, columns []string) error {
	e.begun = true
	kind := "application/x-ndjson"
	if e.format == "csv" {
		kind = "text/csv; charset=utf-8"
	}
	e.w.Header().Set("Content-Type", kind)
	e.w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="snitch-%s-%s.%s"`, name, time.Now().Format("20060102-150405"), e.format))
	if e.format == "csv" {
		e.csv = csv.NewWriter(e.w)
		return e.csv.Write(columns)
	}
	return nil
}

func (e *export) row(v any, cells func() []string) error {
	e.rows++
	if e.csv == nil {
		return json.NewEncoder(e.w).Encode(v)
	}
	list := cells()
	for i := range list {
		list[i] = harmless(list[i])
	}
	return e.csv.Write(list)
}

func (e *export) end() error {
	if e.csv == nil {
		return nil
	}
	e.csv.Flush()
	return e.csv.Error()
}

// harmless keeps a spreadsheet from taking what a stranger wrote for a formula.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func (e *export) groups(ctx context.Context, db *query.DB, p *params) error {
	q, err := groupQuery(p, query.MaxGroupLimit)
	if err != nil {
		return err
	}
	if p.values.Get("limit") == "" {
		q.Limit = query.MaxGroupLimit
	}
	g, err := db.Group(ctx, q)
	if err != nil {
		return err
	}
	columns := append(append([]string{}, q.By...), "connections", "sent", "received", "denied", "would_deny", "first", "last")
	if err := e.begin(strings.Join(q.By, "-"), columns); err != nil {
		return err
	}
	for i := range g.Rows {
		row := &g.Rows[i]
		err := e.row(row, func() []string {
			return append(append([]string{}, row.Keys...), number(row.Connections), number(row.Sent), number(row.Received),
				number(row.Denied), number(row.WouldDeny), stamp(row.First), stamp(row.Last))
		})
		if err != nil {
			return err
		}
	}
	return e.end()
}

var connectionColumns = []string{"time", "last", "action", "would", "rule", "user", "pid", "exe", "name", "cmdline", "sha256", "package", "parent_exe", "unit",
	"container", "direction", "proto", "laddr", "lport", "raddr", "rport", "domain", "domain_source", "country", "sent", "received", "packets", "result"}

func (e *export) connections(ctx context.Context, db *query.DB, p *params) error {
	q := query.Query{Filters: p.filters(), Order: query.NewestFirst, Limit: p.number("limit", maxExport, maxExport)}
	q.Since, q.Until = p.span()
	if p.err != nil {
		return p.err
	}
	// A client that takes nothing for a while is let go; one that does may take
	// its time.
	control := http.NewResponseController(e.w)
	if err := e.begin("connections", connectionColumns); err != nil {
		return err
	}
	err := db.Connections(ctx, q, func(r event.Record) error {
		if e.rows%1024 == 0 {
			if err := control.SetWriteDeadline(time.Now().Add(longWithin)); err != nil {
				return err
			}
		}
		return e.row(&r, func() []string { return cells(&r) })
	})
	if err != nil {
		return err
	}
	return e.end()
}

func cells(r *event.Record) []string {
	parent := ""
	if r.Parent != nil {
		parent = r.Parent.Exe
	}
	return []string{stamp(r.Time), stamp(r.Last), r.Action, r.Would, r.Rule, r.User, number(uint64(r.PID)), r.Exe, r.Name, r.Cmdline, r.SHA256, r.Package, parent,
		r.Unit, r.Container, r.Direction, r.Proto, r.LAddr, number(uint64(r.LPort)), r.RAddr, number(uint64(r.RPort)), r.Domain, r.DomainSource, r.Country,
		number(r.Sent), number(r.Received), number(r.Packets), r.Result}
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
