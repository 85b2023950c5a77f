package api

import (
	"errors"
	"net/http"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
)

// Reputation is what VirusTotal said of a file, or why nobody knows.
type Reputation struct {
	control.Verdict
	Off string `json:"off,omitempty"`
}

func (h *Handler) reputation(r *http.Request) (any, error) {
	sha, err := event.ParseDigest(r.URL.Query().Get("sha256"))
	if err != nil {
		return nil, wrong(errors.New("sha256 is no SHA-256"))
	}
	v, err := h.cfg.Daemon.Reputation(r.Context(), sha)
	if err != nil {
		return Reputation{Off: err.Error()}, nil
	}
	return Reputation{Verdict: v}, nil
}
