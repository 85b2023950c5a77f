package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// Bounds of questions.
const (
	atOnce     = 8                // questions that are answered at once
	within     = 30 * time.Second // one of them
	longWithin = 80 * time.Second // a candidate against history, an export
)

// Daemon is the control socket.
type Daemon interface {
	Status(ctx context.Context) (control.Status, error)
	Doctor(ctx context.Context) (control.Doctor, error)
	Reputation(ctx context.Context, sha event.Digest) (control.Verdict, error)
	SetAlerts(ctx context.Context, ids []int64, state event.AlertState) error
	Flush(ctx context.Context) error
}

// Judge knows the rules: those that decided, and those that a person tries.
type Judge interface {
	// Rules are those in use.
	Rules(ctx context.Context) (Rules, error)
	// Why explains the decision of the connection that began at opened and was
	// decided by rule.
	Why(ctx context.Context, opened time.Time, rule string) (Why, error)
	// Try decides history again by rules that a person typed.
	Try(ctx context.Context, c Candidate) (Trial, error)
}

// Config is what New needs.
type Config struct {
	// DB opens the database or returns the one that is open; an error says why
	// there is none (yet).
	DB     func(ctx context.Context) (*query.DB, error)
	Daemon Daemon
	Judge  Judge
	Places Places
	// Fleet tells of a record of several hosts; nil for that of one.
	Fleet func() Fleet
	Log   *slog.Logger
}

// Handler answers below /api/.
type Handler struct {
	cfg   Config
	mux   *http.ServeMux
	slots chan struct{} // of questions
	long  chan struct{} // of what takes long, one at a time
}

// New makes a handler. All of cfg but Fleet is needed.
func New(cfg Config) *Handler {
	h := &Handler{cfg: cfg, mux: http.NewServeMux(), slots: make(chan struct{}, atOnce), long: make(chan struct{}, 1)}
	for pattern, answer := range map[string]answer{
		"GET /api/overview":    h.overview,
		"GET /api/series":      h.series,
		"GET /api/groups":      h.groups,
		"GET /api/connections": h.connections,
		"GET /api/fields":      h.fields,
		"GET /api/executables": h.executables,
		"GET /api/executable":  h.executable,
		"GET /api/alerts":      h.alerts,
		"POST /api/alerts":     h.setAlerts,
		"GET /api/why":         h.why,
		"GET /api/draft":       h.draft,
		"GET /api/policy":      h.policy,
		"GET /api/health":      h.health,
		"GET /api/place":       h.place,
		"GET /api/reputation":  h.reputation,
		"GET /api/credits":     h.credits,
		"GET /api/status":      h.status,
		"GET /api/fleet":       h.fleet,
	} {
		h.mux.HandleFunc(pattern, h.plain(answer))
	}
	h.mux.HandleFunc("POST /api/try", h.patient(h.try))
	h.mux.HandleFunc("GET /api/export", h.export)
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// answer makes the object of an answer.
type answer func(r *http.Request) (any, error)

// plain answers a question when its turn comes.
func (h *Handler) plain(f answer) http.HandlerFunc { return h.bounded(h.slots, within, f) }

// patient answers what takes long, one at a time.
func (h *Handler) patient(f answer) http.HandlerFunc { return h.bounded(h.long, longWithin, f) }

func (h *Handler) bounded(slots chan struct{}, limit time.Duration, f answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			h.refuse(w, r, ctx.Err())
			return
		}
		began := time.Now()
		v, err := f(r.WithContext(ctx))
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		line, err := text.JSON(v)
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Server-Timing", fmt.Sprintf("total;dur=%.1f", time.Since(began).Seconds()*1000))
		_, _ = w.Write(line) // the peer left
	}
}

// Problem is an error for a person at a page.
type Problem struct {
	Code int    `json:"-"` // of HTTP
	Text string `json:"error"`
	Hint string `json:"hint,omitempty"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Text }

func wrong(err error) error { return &Problem{Code: http.StatusBadRequest, Text: err.Error()} }

// refuse says why there is no answer.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problem(err)
	if p.Code == http.StatusInternalServerError {
		h.cfg.Log.Error("a question was not answered", "component", "web", "path", r.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.Code)
	_ = json.NewEncoder(w).Encode(p) // the peer left
}

// problem finds what an error means for a person.
func problem(err error) *Problem {
	var p *Problem
	var parse *query.ParseError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &parse):
		return &Problem{http.StatusBadRequest, parse.Error(), ""}
	case errors.Is(err, query.ErrNotThere):
		return &Problem{http.StatusServiceUnavailable, "There is no record yet.", "Start the daemon: sudo snitch run"}
	case errors.Is(err, query.ErrNotReadable):
		return &Problem{http.StatusServiceUnavailable, "The record may not be read.", "Join group snitch, or start snitch web as a member of it."}
	case errors.Is(err, query.ErrOlder), errors.Is(err, query.ErrNewer), errors.Is(err, query.ErrDamaged):
		return &Problem{http.StatusServiceUnavailable, err.Error(), ""}
	case errors.Is(err, control.ErrNotRunning):
		return &Problem{http.StatusServiceUnavailable, "The daemon is not running.", "Start it: sudo snitch run"}
	case errors.Is(err, control.ErrForbidden):
		return &Problem{http.StatusServiceUnavailable, "The daemon refused to answer snitch web.", "Start snitch web as a member of group snitch."}
	case errors.Is(err, context.DeadlineExceeded):
		return &Problem{http.StatusServiceUnavailable, "This took too long.", "Ask for a shorter range, or with fewer filters."}
	case errors.Is(err, context.Canceled):
		return &Problem{499, "The client left.", ""}
	}
	return &Problem{http.StatusInternalServerError, err.Error(), ""}
}
