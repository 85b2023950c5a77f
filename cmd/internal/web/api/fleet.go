package api

import (
	"net/http"
	"time"
)

// Fleet is what the record of several hosts was copied from, and how far that is.
type Fleet struct {
	Server  string      `json:"server"`
	Since   time.Time   `json:"since"`
	Read    time.Time   `json:"read"` // when all that was there had been read; zero: not yet
	Rows    uint64      `json:"rows"` // that were read
	Hosts   []FleetHost `json:"hosts"`
	Problem string      `json:"problem,omitempty"`
}

// FleetHost is a host that sends its record.
type FleetHost struct {
	Name string    `json:"name"`
	Last time.Time `json:"last"` // that it wrote something; zero: not in this time
}

func (h *Handler) fleet(*http.Request) (any, error) {
	if h.cfg.Fleet == nil {
		return nil, &Problem{Code: http.StatusNotFound, Text: "This is the record of one host."}
	}
	return h.cfg.Fleet(), nil
}
