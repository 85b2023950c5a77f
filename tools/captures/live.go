package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// played is how many connections are played again at once.
const played = 90

// play serves the control socket of a state directory as far as the pictures
// need it (docs/api.md): the newest connections of its record, which go on
// moving bytes. The returned function ends it.
func play(ctx context.Context, state string) (func(), error) {
	conns, err := newest(ctx, state)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", filepath.Join(state, "control.sock"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"running":true,"started":%q}`, time.Now().Format(time.RFC3339))
	})
	mux.HandleFunc("POST /v1/flush", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /v1/live", func(w http.ResponseWriter, r *http.Request) { move(r.Context(), w, slices.Clone(conns)) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return func() {
		cancel()
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "captures:", err)
		}
	}, nil
}

// newest reads connections back, one of each program and destination.
func newest(ctx context.Context, state string) ([]event.Connection, error) {
	db, err := query.Open(ctx, filepath.Join(state, schema.FileName), nil)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var out []event.Connection
	seen := map[[2]string]bool{}
	err = db.History(ctx, query.Query{Since: time.Now().Add(-12 * time.Hour)}, true, func(w *query.DecidedRow) error {
		c, _, err := w.Connection()
		if err != nil || c.Process == nil || len(out) >= played {
			return err
		}
		key := [2]string{c.Process.Executable.Path, c.Name.Domain}
		if seen[key] {
			return nil
		}
		seen[key] = true
		c.Decision, err = w.Decision()
		c.ID, c.Result = uint64(len(out)+1), event.ResultEstablished
		if c.Direction == event.Listen {
			c.Result = event.ResultListening
		}
		if c.Decision.Action == event.ActionDeny {
			c.Result = event.ResultDenied
		}
		out = append(out, c)
		return err
	})
	return out, err
}

// move lets the connections move bytes, some much, some now and then, and tells
// of each once a second.
func move(ctx context.Context, w http.ResponseWriter, conns []event.Connection) {
	random := rand.New(rand.NewPCG(1, 2))
	rates := make([]float64, len(conns))
	for i := range rates {
		rates[i] = 200 * float64(int(1)<<random.IntN(12))
		conns[i].Opened = time.Now()
	}
	out := json.NewEncoder(w)
	if out.Encode(map[string]string{"type": "hello"}) != nil {
		return
	}
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		for i := range conns {
			c := &conns[i]
			if c.Result == event.ResultEstablished && random.IntN(3) > 0 {
				rates[i] *= 0.7 + 0.62*random.Float64()
				moved := uint64(rates[i])
				c.Received += moved
				c.Sent += moved / uint64(3+i%20)
			}
			c.Last = time.Now()
			rec := event.NewRecord(c, func(uint32) string { return "" })
			if out.Encode(map[string]any{"type": "connection", "id": c.ID, "record": &rec}) != nil {
				return
			}
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
