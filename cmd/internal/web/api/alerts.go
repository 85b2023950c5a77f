package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// Alerts is the answer to GET /api/alerts.
type Alerts struct {
	Rows []event.Alert   `json:"rows"`
	More bool            `json:"more"`
	Sums query.AlertSums `json:"sums"` // of all, by state
}

func (h *Handler) alerts(r *http.Request) (any, error) {
	p := read(r.URL.Query())
	limit := p.number("limit", defaultRows, maxRows)
	q := query.AlertQuery{ID: int64(p.number("id", 0, 1<<52)), Rule: p.values.Get("rule"), Exe: p.values.Get("exe"), Text: p.values.Get("text"),
		Limit: limit + 1, Offset: p.number("offset", 0, 1<<30)}
	q.Since, q.Until = p.span()
	if s := p.values.Get("state"); s != "" && s != "all" {
		var ok bool
		if q.State, ok = event.ParseAlertState(s); !ok {
			p.fail("state", fmt.Errorf("%q is no state of an alert", clip(s)))
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return nil, err
	}
	list, err := db.Alerts(r.Context(), q)
	if err != nil {
		return nil, err
	}
	out := Alerts{Rows: nonNil(list)}
	if len(list) > limit {
		out.Rows, out.More = list[:limit], true
	}
	record, err := db.Health(r.Context(), p.now, p.now)
	out.Sums = record.Alerts
	return out, err
}

// AlertOrder is the body of POST /api/alerts.
type AlertOrder struct {
	IDs   []int64 `json:"ids"`
	State string  `json:"state"`
}

// maxOrder bounds the alerts of one order.
const maxOrder = 1000

func (h *Handler) setAlerts(r *http.Request) (any, error) {
	var o AlertOrder
	if err := body(r, &o); err != nil {
		return nil, err
	}
	state, ok := event.ParseAlertState(o.State)
	switch {
	case !ok:
		return nil, wrong(fmt.Errorf("state: %q is no state of an alert", clip(o.State)))
	case len(o.IDs) == 0 || len(o.IDs) > maxOrder:
		return nil, wrong(fmt.Errorf("ids: %d alerts, want 1 to %d", len(o.IDs), maxOrder))
	}
	if err := h.cfg.Daemon.SetAlerts(r.Context(), o.IDs, state); err != nil {
		return nil, err
	}
	return struct {
		Changed int `json:"changed"`
	}{len(o.IDs)}, nil
}

// body reads the JSON object of a request.
func body(r *http.Request, to any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return wrong(fmt.Errorf("read request: %w", err))
	}
	if _, err := d.Token(); err != io.EOF {
		return wrong(fmt.Errorf("read request: more than one object"))
	}
	return nil
}

// connection names one connection of the record.
type connection struct {
	opened time.Time
	rule   string
	pid    uint32
}

// named reads which connection a request is about: that with which an alert
// began, or that which began at a time.
func (h *Handler) named(r *http.Request) (c connection, err error) {
	p := read(r.URL.Query())
	id := p.number("alert", 0, 1<<52)
	c = connection{opened: p.moment("time"), rule: p.values.Get("rule"), pid: uint32(p.number("pid", 0, 1<<32-1))}
	switch {
	case p.err != nil:
		return c, p.err
	case id == 0 && c.opened.IsZero():
		return c, wrong(fmt.Errorf("which? say alert or time"))
	case id == 0:
		return c, nil
	}
	db, err := h.cfg.DB(r.Context())
	if err != nil {
		return c, err
	}
	list, err := db.Alerts(r.Context(), query.AlertQuery{ID: int64(id)})
	switch {
	case err != nil:
		return c, err
	case len(list) == 0:
		return c, &Problem{http.StatusNotFound, fmt.Sprintf("There is no alert %d.", id), ""}
	case list[0].Opened.IsZero():
		return c, &Problem{http.StatusNotFound, "This alert is about no connection.", ""}
	}
	return connection{opened: list[0].Opened, rule: list[0].Rule, pid: list[0].PID}, nil
}

func (h *Handler) why(r *http.Request) (any, error) {
	c, err := h.named(r)
	if err != nil {
		return nil, err
	}
	return h.cfg.Judge.Why(r.Context(), c.opened, c.rule)
}
