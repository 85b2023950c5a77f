package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Pauses of a Session between two helpers: twice as long each time, until one
// lived for longPause.
const (
	firstPause = time.Second
	longPause  = time.Minute
)

// ErrResting says that the last helper ended or failed a short while ago.
var ErrResting = errors.New("the helper rests after a failure")

// Session is a helper of one kind that is started when it is first needed, and
// again when it ended or failed, after a pause. It is safe for concurrent use;
// one conversation runs at a time.
type Session struct {
	client *Client
	kind   Kind

	mu      sync.Mutex // held during a conversation
	helper  *Helper
	began   time.Time
	pause   time.Duration
	resting time.Time // no start before
}

// Session makes one. Nothing is started yet.
func (c *Client) Session(kind Kind) *Session { return &Session{client: c, kind: kind} }

// Do gives use the running helper. An error of use ends that helper. Do returns
// ErrResting without calling use during a pause, and ErrGone when there is no
// broker any more.
func (s *Session) Do(ctx context.Context, use func(h *Helper) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.helper != nil && s.helper.ended() {
		s.drop()
	}
	if s.helper == nil {
		if err := s.start(ctx); err != nil {
			return err
		}
	}
	if err := use(s.helper); err != nil {
		s.drop()
		return fmt.Errorf("helper %s: %w", s.kind, err)
	}
	return nil
}

// Close ends the helper, if there is one.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.helper != nil {
		s.drop()
	}
}

func (s *Session) start(ctx context.Context) error {
	now := time.Now()
	if now.Before(s.resting) {
		return ErrResting
	}
	h, err := s.client.Start(ctx, s.kind)
	if err != nil {
		s.rest(now)
		return err
	}
	s.helper, s.began = h, now
	return nil
}

func (s *Session) drop() {
	_ = s.helper.Close() // it is over; what matters is the next
	s.helper = nil
	now := time.Now()
	if now.Sub(s.began) > longPause {
		s.pause = 0
	}
	s.rest(now)
}

func (s *Session) rest(now time.Time) {
	s.pause = min(max(2*s.pause, firstPause), longPause)
	s.resting = now.Add(s.pause)
	s.client.log.Warn("helper ended and rests", "kind", string(s.kind), "pause", s.pause)
}
