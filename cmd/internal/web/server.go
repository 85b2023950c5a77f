package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"snitch/cmd/internal/web/api"
	"snitch/cmd/internal/web/gate"
	"snitch/cmd/internal/web/live"
	"snitch/cmd/internal/web/ui"
)

// Bounds of the server.
const (
	maxConnections = 512
	maxHeader      = 16 << 10
	maxBody        = 1 << 20          // the rules of a candidate
	headerWithin   = 20 * time.Second // browsers connect ahead, and busy machines take their time
	requestWithin  = 20 * time.Second
	answerWithin   = 90 * time.Second // live connections set their own
	idleFor        = 2 * time.Minute  // longer than between two refreshes
	endWithin      = time.Second
)

// Config is what New needs.
type Config struct {
	Gate    gate.Config // without SignIn
	API     api.Config
	Feed    live.Source
	Version string
	Fleet   bool // the record is of several hosts, and there is no daemon
	Log     *slog.Logger
}

// Server serves the web interface.
type Server struct {
	http *http.Server
	hub  *live.Hub
}

// New makes a server.
func New(cfg Config) (*Server, error) {
	assets, err := ui.New()
	if err != nil {
		return nil, err
	}
	pages, err := newPages(assets, cfg.Version, cfg.Gate.Keys == nil, cfg.Fleet)
	if err != nil {
		return nil, err
	}
	cfg.Gate.SignIn = http.HandlerFunc(pages.signIn)
	g := gate.New(cfg.Gate)
	hub := live.New(cfg.Feed, cfg.Log)
	mux := http.NewServeMux()
	mux.Handle("GET /assets/", assets)
	mux.HandleFunc("POST /api/signout", g.SignOut)
	mux.Handle("GET /api/live", hub)
	mux.Handle("/api/", api.New(cfg.API))
	mux.HandleFunc("/", pages.shell)
	open := func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/assets/") }
	return &Server{hub: hub, http: &http.Server{Handler: http.MaxBytesHandler(g.Guard(mux, open), maxBody), ConnContext: g.ConnContext,
		MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerWithin, ReadTimeout: requestWithin, WriteTimeout: answerWithin, IdleTimeout: idleFor,
		ErrorLog: slog.NewLogLogger(cfg.Log.With("component", "web").Handler(), slog.LevelDebug)}}, nil
}

// Serve answers on l until ctx ends, and returns when every handler has. It
// closes l. It may be called once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	hub := make(chan struct{})
	go func() {
		defer close(hub)
		s.hub.Run(ctx)
	}()
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		patience, done := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer done()
		err := s.http.Shutdown(patience)
		if err != nil {
			err = s.http.Close()
		}
		ended <- err
	})
	err := s.http.Serve(newLimited(l, maxConnections))
	if stop() { // ctx has not ended: the listener failed
		cancel()
		<-hub
		return fmt.Errorf("serve web interface: %w", err)
	}
	err = <-ended
	<-hub
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("end web interface: %w", err)
	}
	return nil
}
