package verdict

import (
	"context"
	"errors"
	"os"
	"time"

	"snitch/bpf"
)

// Bounds of what waits for user space, and how many decide at once.
const (
	askQueue     = 1024
	denialQueue  = 4096
	deciders     = 2
	pollAtMost   = 200 * time.Millisecond
	upkeepAtMost = time.Second
)

// startLocked starts the goroutines of a kernel side: one reads its events, some
// decide, one records denials, one keeps subjects and expiry.
func (b *Backend) startLocked() {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	asks, denials := make(chan bpf.VerdictEvent, askQueue), make(chan bpf.VerdictEvent, denialQueue)
	kernel := b.kernel
	b.running.Go(func() { b.read(ctx, kernel, asks, denials) })
	for range deciders {
		b.running.Go(func() { each(ctx, asks, func(e *bpf.VerdictEvent) { b.answer(ctx, kernel, e) }) })
	}
	b.running.Go(func() { each(ctx, denials, func(e *bpf.VerdictEvent) { b.denied(ctx, e) }) })
	b.running.Go(func() { b.upkeep(ctx) })
}

func each(ctx context.Context, events <-chan bpf.VerdictEvent, handle func(*bpf.VerdictEvent)) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			handle(&e)
		}
	}
}

// read sorts the kernel's events. What finds no room is counted: the kernel asks
// again at the next attempt or packet.
func (b *Backend) read(ctx context.Context, kernel *bpf.Verdicts, asks, denials chan<- bpf.VerdictEvent) {
	for ctx.Err() == nil {
		err := kernel.Poll(pollAtMost, func(e *bpf.VerdictEvent) {
			to := denials
			if e.Type == bpf.VerdictAsked {
				to = asks
			}
			select {
			case to <- *e:
			default:
				b.stats.lost.Add(1)
			}
		})
		if errors.Is(err, os.ErrClosed) {
			return
		}
		b.problem("read events of the kernel", err)
	}
}

// upkeep classifies new processes as they come and makes the tables anew when a
// rule expires.
func (b *Backend) upkeep(ctx context.Context) {
	tick := time.NewTicker(upkeepAtMost)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.inbox.wake:
			b.learn()
		case now := <-tick.C:
			b.expire(ctx, now)
		}
	}
}

func (b *Backend) expire(ctx context.Context, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil || b.refresh.IsZero() || now.Before(b.refresh) {
		return
	}
	b.problem("make tables anew as a rule expired", b.useLocked(ctx, b.desired))
}
