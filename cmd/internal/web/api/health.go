package api

import (
	"net/http"

	"snitch/cmd/internal/control"
	"snitch/monitor/store/query"
)

// HealthPage is the answer to /api/health: what the daemon says of itself, and
// what the record tells.
type HealthPage struct {
	Status  *control.Status `json:"status"` // null: it does not answer
	Daemon  *Problem        `json:"daemon"` // why not
	Kernel  *control.Doctor `json:"kernel"` // null: the daemon does not tell
	Record  *query.Health   `json:"record"`
	Problem *Problem        `json:"problem"` // why there is no record
}

func (h *Handler) health(r *http.Request) (any, error) {
	p := read(r.URL.Query())
	since, until := p.span()
	if p.err != nil {
		return nil, p.err
	}
	var out HealthPage
	if st, err := h.cfg.Daemon.Status(r.Context()); err == nil {
		out.Status = &st
		if k, err := h.cfg.Daemon.Doctor(r.Context()); err == nil {
			out.Kernel = &k
		}
	} else {
		out.Daemon = problem(err)
	}
	db, err := h.cfg.DB(r.Context())
	if err == nil {
		var rec query.Health
		if rec, err = db.Health(r.Context(), since, until); err == nil {
			out.Record = &rec
		}
	}
	if err != nil {
		out.Problem = problem(err)
	}
	return out, nil
}

// status is the daemon's own word, for the corner of every page.
func (h *Handler) status(r *http.Request) (any, error) {
	return h.cfg.Daemon.Status(r.Context())
}
