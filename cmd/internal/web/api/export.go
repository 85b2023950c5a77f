package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"snitch/cmd/internal/sheet"
	"snitch/cmd/internal/text"
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
}

func (e *export) begin(name string) {
	e.begun = true
	kind := "application/x-ndjson"
	if e.format == "csv" {
		kind = "text/csv; charset=utf-8"
	}
	e.w.Header().Set("Content-Type", kind)
	e.w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="snitch-%s-%s.%s"`, name, time.Now().Format("20060102-150405"), e.format))
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
	e.begin(strings.Join(q.By, "-"))
	if e.format == "csv" {
		return sheet.Groups(e.w, &g)
	}
	for i := range g.Rows {
		if err := e.line(&g.Rows[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *export) connections(ctx context.Context, db *query.DB, p *params) error {
	q := query.Query{Filters: p.filters(), Order: query.NewestFirst, Limit: p.number("limit", maxExport, maxExport)}
	q.Since, q.Until = p.span()
	if p.err != nil {
		return p.err
	}
	e.begin("connections")
	write, flush := func(r *event.Record) error { return e.line(r) }, func() error { return nil }
	if e.format == "csv" {
		rows, err := sheet.NewRecords(e.w)
		if err != nil {
			return err
		}
		write, flush = rows.Write, rows.Flush
	}
	// A client that takes nothing for a while is let go; one that does may take
	// its time.
	control := http.NewResponseController(e.w)
	n := 0
	err := db.Connections(ctx, q, func(r event.Record) error {
		if n++; n%1024 == 1 {
			if err := control.SetWriteDeadline(time.Now().Add(longWithin)); err != nil {
				return err
			}
		}
		return write(&r)
	})
	if err != nil {
		return err
	}
	return flush()
}

// line writes one line of JSON.
func (e *export) line(v any) error {
	line, err := text.JSON(v)
	if err != nil {
		return err
	}
	_, err = e.w.Write(append(line, '\n'))
	return err
}
