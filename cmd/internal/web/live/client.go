package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"snitch/monitor/store/query"
)

const (
	batchEvery = 250 * time.Millisecond
	pingEvery  = 15 * time.Second
	takeWithin = 20 * time.Second // a client that takes nothing for so long is let go
)

// key is one connection.
type key struct {
	id   uint64
	time int64
}

// client is one page.
type client struct {
	filters query.Filters
	wake    chan struct{}
	ended   chan struct{} // closed with the hub

	mu    sync.Mutex // guards what follows
	order []key
	rows  map[key][]byte
	lost  uint64
	state *State
}

func newClient(filters query.Filters) *client {
	return &client{filters: filters, wake: make(chan struct{}, 1), ended: make(chan struct{}), rows: map[key][]byte{}}
}

func (c *client) push(k key, line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.rows[k]; !there {
		if len(c.order) >= maxQueued {
			c.lost++
			return
		}
		c.order = append(c.order, k)
	}
	c.rows[k] = line
	c.rouse()
}

func (c *client) lose(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost += n
	c.rouse()
}

func (c *client) tell(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = &s
	c.rouse()
}

func (c *client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take is what waits, as events.
func (c *client) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b bytes.Buffer
	if c.state != nil {
		if line, err := json.Marshal(c.state); err == nil {
			fmt.Fprintf(&b, "event: state\ndata: %s\n\n", line)
		}
		c.state = nil
	}
	if len(c.order) > 0 {
		b.WriteString("event: rows\ndata: [")
		for i, k := range c.order {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(c.rows[k])
		}
		b.WriteString("]\n\n")
		c.order = c.order[:0]
		clear(c.rows)
	}
	if c.lost > 0 {
		fmt.Fprintf(&b, "event: lost\ndata: %d\n\n", c.lost)
		c.lost = 0
	}
	return b.Bytes()
}

// ServeHTTP is the stream of one page. "f" parameters are filters.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	filters, err := query.Parse(r.URL.Query()["f"])
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	c, err := h.join(filters)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	defer h.leave(c)
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	// Else the deadline of reading the request would end the stream.
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	send := func(b []byte) bool {
		if control.SetWriteDeadline(time.Now().Add(takeWithin)) != nil {
			return false
		}
		if _, err := w.Write(b); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	c.serve(r, send)
}

// serve sends batches until the page or the hub leaves.
func (c *client) serve(r *http.Request, send func([]byte) bool) {
	if !send([]byte("retry: 2000\n\n")) {
		return
	}
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-c.wake:
			if b := c.take(); len(b) > 0 && !send(b) {
				return
			}
			select {
			case <-time.After(batchEvery):
			case <-r.Context().Done():
				return
			}
		case <-ping.C:
			if !send([]byte(": ping\n\n")) {
				return
			}
		case <-c.ended:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // the peer left
}
