package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"snitch/cmd/internal/text"
	"snitch/monitor/event"
)

// Bounds of the server.
const (
	maxConnections = 64
	maxHeader      = 4 << 10 // net/http adds 4 KiB of slack
	headerWithin   = 5 * time.Second
	answerWithin   = 10 * time.Second
	takeWithin     = 30 * time.Second // a live client that takes nothing for so long is let go
	flushWithin    = 3 * time.Second
	pingEvery      = 15 * time.Second
)

// Config is what New needs.
type Config struct {
	Access Access
	Hub    *Hub
	Status func(ctx context.Context) (Status, error)
	// Flush brings what was published so far into the database. A feed begins
	// after a flush, and so joins what the database tells without a gap.
	Flush func(ctx context.Context) error
	// Reload reads the rules again; its error is for people.
	Reload func() error
	// SetAlerts says what a person did about alerts.
	SetAlerts func(ctx context.Context, ids []int64, state event.AlertState) error
	// Enforce changes enforcement; its error is for people. Nil: it is not
	// there.
	Enforce func(ctx context.Context, o EnforceOrder) (Enforce, error)
	// Doctor tells what the kernel could do at the start. Nil: it is not told.
	Doctor func() Doctor
	// Reputation tells what VirusTotal said of a file; false, or nil: it is not
	// asked.
	Reputation func(sha event.Digest) (Verdict, bool)
	Log        *slog.Logger
}

// Server answers on the control socket.
type Server struct {
	cfg      Config
	http     *http.Server
	flushing chan struct{} // held by who flushes
}

// New makes a server. All of cfg but Enforce, Doctor and Reputation is needed.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, flushing: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, r.handle)
	}
	s.http = &http.Server{Handler: s.guard(mux), ConnContext: withPeer, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerWithin, ReadTimeout: headerWithin, WriteTimeout: answerWithin, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(cfg.Log.With("component", "control").Handler(), slog.LevelDebug)}
	return s
}

// route is one thing that can be asked.
type route struct {
	pattern string // method and path, as docs/api.md has them
	handle  http.HandlerFunc
}

func (s *Server) routes() []route {
	return []route{
		{"GET /v1/status", s.status},
		{"GET /v1/doctor", s.doctor},
		{"GET /v1/reputation", s.reputation},
		{"GET /v1/live", s.live},
		{"POST /v1/flush", s.flush},
		{"POST /v1/reload", s.reload},
		{"POST /v1/alerts", s.alerts},
		{"POST /v1/enforce", s.enforce},
	}
}

// Serve answers on l until ctx ends, and returns when every handler has. It
// closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		// Handlers end with ctx; who does not take its answer is cut off.
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err := s.http.Shutdown(patience)
		if err != nil {
			err = s.http.Close()
		}
		ended <- err
	})
	err := s.http.Serve(newLimited(l))
	if stop() { // ctx has not ended: the listener failed
		return fmt.Errorf("serve control socket: %w", err)
	}
	if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("end control socket: %w", err)
	}
	return nil
}

// guard refuses strangers and bodies before any handler runs.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := r.Context().Value(peerKey{}).(peer)
		switch {
		case !ok || !s.cfg.Access.allows(p):
			w.Header().Set("Connection", "close")
			s.cfg.Log.Warn("control socket refused a peer", "component", "control", "pid", p.pid, "uid", p.uid)
			refuse(w, http.StatusForbidden, "only root and members of the daemon's group may ask")
		case r.ContentLength != 0:
			w.Header().Set("Connection", "close")
			refuse(w, http.StatusRequestEntityTooLarge, "requests have no body")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// refusal is the body of every answer that is an error.
type refusal struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(refusal{message}) // the peer left
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	st, err := s.cfg.Status(r.Context())
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	answer(w, st)
}

func (s *Server) flush(w http.ResponseWriter, r *http.Request) {
	if err := s.flushed(r.Context()); err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// flushed flushes for one client at a time, and gives up on a slow disk.
func (s *Server) flushed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	select {
	case s.flushing <- struct{}{}:
		defer func() { <-s.flushing }()
	case <-ctx.Done():
		return fmt.Errorf("flush: %w", ctx.Err())
	}
	if err := s.cfg.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	sub, err := s.cfg.Hub.Subscribe()
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer sub.Close()
	if err := s.flushed(r.Context()); err != nil {
		s.cfg.Log.Debug("a feed begins without a flush", "component", "control", "error", err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	f := &feed{w: w, control: http.NewResponseController(w)}
	// The deadline of reading the request would end the watch for the client's
	// leaving, and with it the feed.
	if err := f.control.SetReadDeadline(time.Time{}); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	if err := f.send([]Message{{Type: TypeHello}}); err != nil {
		return
	}
	if err := f.follow(r.Context(), sub); err != nil {
		s.cfg.Log.Debug("a live client was let go", "component", "control", "error", err)
	}
}

// feed writes messages to one client.
type feed struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (f *feed) follow(ctx context.Context, sub *Subscription) error {
	for {
		wait, cancel := context.WithTimeout(ctx, pingEvery)
		messages, err := sub.Next(wait)
		cancel()
		switch {
		case errors.Is(err, ErrEnded), ctx.Err() != nil:
			return f.send([]Message{{Type: TypeBye}})
		case err != nil:
			messages = []Message{{Type: TypePing}}
		}
		if err := f.send(messages); err != nil {
			return err
		}
	}
}

func (f *feed) send(messages []Message) error {
	if err := f.control.SetWriteDeadline(time.Now().Add(takeWithin)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	for i := range messages {
		line, err := text.JSON(&messages[i])
		if err != nil {
			return err
		}
		if _, err := f.w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return f.control.Flush()
}

// limited bounds the number of connections: further ones wait in the kernel.
type limited struct {
	net.Listener
	slots chan struct{}
	ended chan struct{}
	end   func()
}

func newLimited(l net.Listener) *limited {
	ended := make(chan struct{})
	return &limited{Listener: l, slots: make(chan struct{}, maxConnections), ended: ended, end: sync.OnceFunc(func() { close(ended) })}
}

// Close ends an Accept that waits for a slot too: clients that keep their
// connections would hold the end otherwise.
func (l *limited) Close() error {
	l.end()
	return l.Listener.Close()
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		<-l.slots
		return nil, errors.Join(fmt.Errorf("accept: %T is no unix socket", c), c.Close())
	}
	return &slotConn{UnixConn: socket, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	*net.UnixConn
	free func()
}

func (c *slotConn) Close() error {
	defer c.free()
	return c.UnixConn.Close()
}
