package monitor

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// behind is who waits until the records of the kernel are read. Safe for
// concurrent use.
type behind struct {
	mu      sync.Mutex
	waiting []chan struct{}
	closed  bool
}

// join returns a channel that is closed once the records are read that are
// there now; nil when nobody reads any more.
func (b *behind) join() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	done := make(chan struct{})
	b.waiting = append(b.waiting, done)
	return done
}

func (b *behind) take() []chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting := b.waiting
	b.waiting = nil
	return waiting
}

func (b *behind) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, done := range b.waiting {
		close(done)
	}
	b.waiting = nil
}

// CatchUp returns when every record is handled that the kernel had written
// before the call: who ran what, and who was told which name. The error is that
// of ctx, or of waking. Safe for concurrent use.
func (m *Monitor) CatchUp(ctx context.Context) error {
	done := m.behind.join()
	if done == nil {
		return nil
	}
	if err := m.deps.Kernel.Wake(); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the records of the kernel: %w", ctx.Err())
	}
}

// wait reads records for at most so long, or for as long as nobody waits for
// them.
func (m *Monitor) wait(atMost time.Duration) error {
	waiting := m.behind.take()
	if len(waiting) > 0 {
		atMost = 0
	}
	err := m.poll(min(pollAtMost, atMost))
	for _, done := range waiting {
		close(done)
	}
	return err
}
