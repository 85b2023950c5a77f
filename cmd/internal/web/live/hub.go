package live

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/monitor/store/query"
)

// Bounds of the hub.
const (
	maxClients = 100
	maxQueued  = 1000 // connections that wait for one client
	retryEvery = time.Second
)

// ErrTooMany says that there are as many clients as there may be.
var ErrTooMany = errors.New("too many live pages")

// errIdle says that nobody listens any more.
var errIdle = errors.New("nobody listens")

// Source opens the daemon's feed.
type Source interface {
	Live(ctx context.Context) (*control.Feed, error)
}

// Hub hands the feed on.
type Hub struct {
	source Source
	log    *slog.Logger
	wake   chan struct{} // somebody listens again

	mu      sync.Mutex // guards what follows
	clients map[*client]struct{}
	state   State
	ended   bool
}

// State says whether the daemon talks to us, or why not; "": it is not known
// yet.
type State struct {
	Connected bool   `json:"connected"`
	Why       string `json:"why,omitempty"`
}

// New makes a hub, which Run makes work.
func New(source Source, log *slog.Logger) *Hub {
	return &Hub{source: source, log: log, wake: make(chan struct{}, 1), clients: map[*client]struct{}{}}
}

// Run hands the feed on until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	defer h.end()
	for ctx.Err() == nil {
		if !h.wanted() {
			select {
			case <-h.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := h.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errIdle) {
			h.tell(State{})
			continue
		}
		why := "the daemon ended"
		if err != nil {
			why = err.Error()
		}
		h.tell(State{Why: why})
		select {
		case <-time.After(retryEvery):
		case <-ctx.Done():
		}
	}
}

// session is the life of one feed: until its end, or nobody listens.
func (h *Hub) session(ctx context.Context) error {
	feed, err := h.source.Live(ctx)
	if err != nil {
		return err
	}
	defer feed.Close()
	stop := context.AfterFunc(ctx, func() { _ = feed.Close() }) // unblocks Next
	defer stop()
	h.tell(State{Connected: true})
	for h.wanted() { // the daemon pings: this is looked at now and then
		m, err := feed.Next()
		switch {
		case errors.Is(err, io.EOF), m.Type == control.TypeBye:
			return nil
		case err != nil:
			return err
		}
		h.publish(&m)
	}
	return errIdle
}

func (h *Hub) publish(m *control.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch m.Type {
	case control.TypeLost:
		for c := range h.clients {
			c.lose(m.Lost)
		}
	case control.TypeConnection:
		if m.Record == nil {
			return
		}
		var line []byte
		for c := range h.clients {
			if !c.filters.Match(m.Record) {
				continue
			}
			if line == nil {
				var err error
				if line, err = text.JSON(m); err != nil {
					h.log.Warn("a live message has no form", "component", "web", "error", err)
					return
				}
			}
			c.push(key{m.ID, m.Record.Time.UnixNano()}, line)
		}
	}
}

func (h *Hub) wanted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients) > 0
}

func (h *Hub) tell(s State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = s
	for c := range h.clients {
		c.tell(s)
	}
}

func (h *Hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for c := range h.clients {
		close(c.ended)
	}
	clear(h.clients)
}

func (h *Hub) join(filters query.Filters) (*client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || len(h.clients) >= maxClients {
		return nil, ErrTooMany
	}
	c := newClient(filters)
	c.tell(h.state)
	h.clients[c] = struct{}{}
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return c, nil
}

func (h *Hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, c)
}
