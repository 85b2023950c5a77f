package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// recentAlerts is how many alerts the overview shows.
const recentAlerts = 6

// Overview is the answer to /api/overview.
type Overview struct {
	query.Overview
	Alerts []event.Alert `json:"alerts"` // new ones, those that happened last first
}

func (h *Handler) overview(r *http.Request) (any, error) {
	p := read(r.URL.Query())
	since, until := p.span()
	if p.err != nil {
		return nil, p.err
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	o, err := db.Overview(r.Context(), since, until)
	if err != nil {
		return nil, err
	}
	alerts, err := db.Alerts(r.Context(), query.AlertQuery{State: event.AlertNew, Limit: recentAlerts})
	return Overview{o, nonNil(alerts)}, err
}

func (h *Handler) series(r *http.Request) (any, error) {
	p := read(r.URL.Query())
	q := query.SeriesQuery{Filters: p.filters(), By: p.values.Get("by"), Top: p.number("top", 7, query.MaxSeriesTop),
		Points: p.number("points", 0, query.MaxSeriesPoints)}
	q.Since, q.Until = p.span()
	if p.err != nil {
		return nil, p.err
	}
	if q.By != "" && !groupable(q.By) {
		return nil, wrong(fmt.Errorf("by: %q is nothing to group by", clip(q.By)))
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	return db.Series(r.Context(), q)
}

func (h *Handler) groups(r *http.Request) (any, error) {
	q, err := groupQuery(read(r.URL.Query()), maxRows)
	if err != nil {
		return nil, err
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	return db.Group(r.Context(), q)
}

func groupQuery(p *params, most int) (query.GroupQuery, error) {
	q := query.GroupQuery{Filters: p.filters(), By: p.values["by"], Desc: p.values.Get("asc") == "",
		Limit: p.number("limit", defaultRows, most), Offset: p.number("offset", 0, 1<<30)}
	q.Since, q.Until = p.span()
	if order := p.values.Get("order"); order != "" {
		var ok bool
		if q.Order, ok = query.ParseGroupOrder(order); !ok {
			p.fail("order", fmt.Errorf("%q is no order", clip(order)))
		}
	}
	if n := len(q.By); n == 0 || n > query.MaxGroupFields {
		p.fail("by", fmt.Errorf("%d fields, want 1 or %d", n, query.MaxGroupFields))
	}
	for _, by := range q.By {
		if by != query.ByTime && !groupable(by) {
			p.fail("by", fmt.Errorf("%q is nothing to group by", clip(by)))
		}
	}
	return q, p.err
}

func groupable(name string) bool {
	return slices.ContainsFunc(query.Fields(), func(f query.Field) bool { return f.Group && f.Name == name })
}

// Connections is the answer to /api/connections.
type Connections struct {
	Rows []event.Record `json:"rows"`
	More bool           `json:"more"`
}

func (h *Handler) connections(r *http.Request) (any, error) {
	p := read(r.URL.Query())
	limit := p.number("limit", defaultRows, maxRows)
	q := query.Query{Filters: p.filters(), Order: query.NewestFirst, Limit: limit + 1}
	q.Since, q.Until = p.span()
	if p.err != nil {
		return nil, p.err
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	out := Connections{Rows: []event.Record{}}
	err = db.Connections(r.Context(), q, func(rec event.Record) error {
		if len(out.Rows) == limit {
			out.More = true
			return nil
		}
		out.Rows = append(out.Rows, rec)
		return nil
	})
	return out, err
}

// FieldInfo is what the pages know of a field.
type FieldInfo struct {
	Name  string `json:"name"`
	Help  string `json:"help"`
	Group bool   `json:"group"`
}

func (h *Handler) fields(*http.Request) (any, error) {
	var out []FieldInfo
	for _, f := range query.Fields() {
		out = append(out, FieldInfo{f.Name, f.Help, f.Group})
	}
	return out, nil
}

func (h *Handler) executables(r *http.Request) (any, error) {
	p := read(r.URL.Query())
	q := query.ExecutableQuery{New: p.flag("new"), Path: p.values.Get("path"), SHA256: p.values.Get("sha256"),
		Limit: p.number("limit", defaultRows, maxRows), Offset: p.number("offset", 0, 1<<30)}
	q.Since, q.Until = p.span()
	if p.err != nil {
		return nil, p.err
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	list, err := db.Executables(r.Context(), q)
	return nonNil(list), err
}

// executable tells of one program: "key" is its number, path or SHA-256.
func (h *Handler) executable(r *http.Request) (any, error) {
	key := r.URL.Query().Get("key")
	if key == "" {
		return nil, wrong(errors.New("key: which program? its number, path or SHA-256"))
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	detail, err := db.Executable(r.Context(), key)
	if errors.Is(err, query.ErrNoExecutable) {
		return nil, &Problem{Code: http.StatusNotFound, Text: "The record does not know this program."}
	}
	return detail, err
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
