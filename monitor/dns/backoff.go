package dns

import (
	"context"
	"time"
)

// backoff waits longer after each failure.
type backoff struct{ first, most, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// wait returns false when ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(b.first, 2*b.next), b.most)
	t := time.NewTimer(b.next)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
