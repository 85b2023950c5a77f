package control

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"snitch/monitor/event"
)

// Bounds of the feed.
const (
	maxSubscribers = 16
	maxQueued      = 4096    // messages that wait for one subscriber
	maxQueuedBytes = 2 << 20 // and their bytes, roughly
	perMessage     = 256     // bytes of a message without its strings
)

// ErrTooMany says that the feed has as many clients as it may.
var ErrTooMany = errors.New("too many live clients")

// ErrEnded says that the hub was closed: the daemon ends.
var ErrEnded = errors.New("the feed has ended")

// Hub hands published snapshots to subscribers. Publishing never blocks.
type Hub struct {
	user  func(uid uint32) string
	count atomic.Int32 // subscribers, so that nobody listening costs one load
	lost  atomic.Uint64

	mu     sync.Mutex
	subs   map[*Subscription]struct{}
	closed bool
}

// NewHub makes a hub; user names a uid.
func NewHub(user func(uid uint32) string) *Hub {
	return &Hub{user: user, subs: map[*Subscription]struct{}{}}
}

// Publish hands over snapshots. The connections may be reused after it
// returned, their processes may not change.
func (h *Hub) Publish(connections []event.Connection) {
	if h.count.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range connections {
		c := &connections[i]
		rec := event.NewRecord(c, h.user)
		m := Message{Type: TypeConnection, ID: c.ID, Closed: c.Closed, Record: &rec}
		size := perMessage + len(rec.Cmdline) + len(rec.Exe)
		for s := range h.subs {
			if !s.push(m, size) {
				h.lost.Add(1)
			}
		}
	}
}

// Subscribe begins a subscription, which the caller closes.
func (h *Hub) Subscribe() (*Subscription, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrEnded
	}
	if len(h.subs) >= maxSubscribers {
		return nil, ErrTooMany
	}
	s := &Subscription{hub: h, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	h.subs[s] = struct{}{}
	h.count.Store(int32(len(h.subs)))
	return s, nil
}

// Close ends all subscriptions once they took what waits for them.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for s := range h.subs {
		close(s.ended)
	}
}

// Live is the state of the feed.
func (h *Hub) Live() Live {
	return Live{Clients: int(h.count.Load()), Lost: h.lost.Load()}
}

// Lost counts messages that subscribers did not take in time, since the start.
func (h *Hub) Lost() uint64 { return h.lost.Load() }

// Subscription is one client's queue. One goroutine reads it.
type Subscription struct {
	hub   *Hub
	wake  chan struct{}
	ended chan struct{} // closed with the hub

	mu     sync.Mutex
	queue  []Message
	bytes  int
	lost   uint64
	closed bool
}

// push reports whether there was room. What was lost is told behind what waits,
// which is where it is missing, so nothing may queue before that was taken.
func (s *Subscription) push(m Message, size int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost > 0 || len(s.queue) >= maxQueued || s.bytes+size > maxQueuedBytes {
		s.lost++
		return false
	}
	s.queue = append(s.queue, m)
	s.bytes += size
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// Next waits for messages and returns all that wait, with what was lost after
// them as the last. It returns ErrEnded after the last messages of a hub that
// was closed, or ctx's error.
func (s *Subscription) Next(ctx context.Context) ([]Message, error) {
	for {
		if out := s.take(); len(out) > 0 {
			return out, nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.ended:
			if out := s.take(); len(out) > 0 {
				return out, nil
			}
			return nil, ErrEnded
		}
	}
}

func (s *Subscription) take() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.queue
	if s.lost > 0 {
		out = append(out, Message{Type: TypeLost, Lost: s.lost})
	}
	s.queue, s.bytes, s.lost = nil, 0, 0
	return out
}

// Close ends the subscription. It may be called twice.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	delete(s.hub.subs, s)
	s.hub.count.Store(int32(len(s.hub.subs)))
}
