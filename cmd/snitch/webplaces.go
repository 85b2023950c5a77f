package main

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"snitch/cmd/internal/web/api"
	"snitch/monitor/geoip"
)

// webPlaces are the tables of places that are installed now. It is safe for
// concurrent use.
type webPlaces struct {
	db *geoip.DB

	mu     sync.Mutex
	looked time.Time
}

func newWebPlaces(state string, log *slog.Logger) (*webPlaces, error) {
	db, err := geoip.Open(filepath.Join(state, placesDir), log)
	return &webPlaces{db: db, looked: time.Now()}, err
}

func (w *webPlaces) refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.looked) >= placesEvery {
		w.db.Refresh()
		w.looked = now
	}
}

// Place implements api.Places.
func (w *webPlaces) Place(a netip.Addr) api.Place {
	w.refresh()
	return api.Place(w.db.Place(a))
}

// Credits implements api.Places.
func (w *webPlaces) Credits() (out []api.Credit) {
	w.refresh()
	for _, s := range w.db.Sources() {
		c := api.Credit{Text: s.Credit, URL: s.CreditURL}
		if c.Text != "" && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}
