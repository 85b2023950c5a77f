package verdict

import (
	"context"
	"errors"
	"os"
	"time"

	"snitch/bpf"
	"snitch/monitor/event"
)

// Bounds of what waits for user space, and how many decide at once.
const (
	askQueue     = 1024
	denialQueue  = 4096
	cutQueue     = 1024
	deciders     = 2
	pollAtMost   = 200 * time.Millisecond
	upkeepAtMost = time.Second
)

// startLocked starts the goroutines of a kernel side: one reads its events, some
// decide, one waits for facts, one cuts, one records denials, one keeps subjects
// and expiry. Who cuts waits for nobody who decides.
func (b *Backend) startLocked() {
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	kernel := b.kernel
	b.running.Go(func() { b.read(ctx, kernel) })
	for range deciders {
		b.running.Go(func() { each(ctx, b.asks, func(a *ask) { b.answer(ctx, kernel, a) }) })
	}
	b.running.Go(func() { b.resume(ctx) })
	b.running.Go(func() {
		each(ctx, b.cuts, func(e *bpf.VerdictEvent) {
			if b.forbidden(kernel, e) {
				b.problem("cut a connection", b.destroy(e.Netns, []bpf.VerdictEvent{*e}))
			}
		})
	})
	b.running.Go(func() { each(ctx, b.denials, func(e *bpf.VerdictEvent) { b.denied(ctx, e) }) })
	b.running.Go(func() { b.upkeep(ctx) })
}

func each[T any](ctx context.Context, events <-chan T, handle func(*T)) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			handle(&e)
		}
	}
}

// hangs reports whether a denied connection must be destroyed: its program would
// wait for answers to packets that never left.
func hangs(e *bpf.VerdictEvent) bool {
	return e.Hook == bpf.VerdictAtEgress && e.Proto == event.ProtoTCP && e.Lport != 0
}

// read sorts the kernel's events. What finds no room is counted: the kernel asks
// again at the next attempt or packet, and tells again of a connection that goes
// on.
func (b *Backend) read(ctx context.Context, kernel *bpf.Verdicts) {
	for ctx.Err() == nil {
		err := kernel.Poll(pollAtMost, func(e *bpf.VerdictEvent) {
			if e.Type == bpf.VerdictAsked {
				b.queueAsk(ask{event: *e})
				return
			}
			if hangs(e) {
				b.queue(b.cuts, e)
			}
			b.queue(b.denials, e)
		})
		if errors.Is(err, os.ErrClosed) {
			return
		}
		b.problem("read events of the kernel", err)
	}
}

// queue never waits: what finds no room is counted.
func (b *Backend) queue(to chan<- bpf.VerdictEvent, e *bpf.VerdictEvent) {
	select {
	case to <- *e:
	default:
		b.stats.lost.Add(1)
	}
}

func (b *Backend) queueAsk(a ask) {
	select {
	case b.asks <- a:
	default:
		b.stats.lost.Add(1)
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
			b.followMounts(ctx)
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

// followMounts holds programs of file systems that were mounted since.
func (b *Backend) followMounts(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() == nil && b.preload != nil {
		b.preload.follow(b.cfg.Mounts)
	}
}
