package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Bounds of the core's patience with a helper, which its person can stop.
const (
	writeWithin = 2 * time.Second
	longPause   = 10 * time.Minute
	idleAfter   = 30 * time.Minute // nothing shown, nothing said: the helper ends
	answerEvery = time.Second      // between two answers to clicks
	answerIn    = 5 * time.Second
)

// desk is one person's desktop, as the core knows it.
type desk struct {
	uid   uint32
	deps  Deps
	log   *slog.Logger
	count *counters
	woken chan struct{} // capacity 1: the plan changed

	mu   sync.Mutex
	plan *plan

	// Of the goroutine of run.
	helper   *helper // nil: none runs
	pause    time.Duration
	resting  time.Time // no start before
	active   time.Time
	answered time.Time
}

// helper is a connection to a running helper.
type helper struct {
	conn net.Conn
	said chan said
	quit chan struct{} // closed to end the reader
	done chan struct{} // closed when the reader ended
	err  error         // of the reader; read after done
}

// change changes the plan and wakes the desk.
func (d *desk) change(f func(p *plan, now time.Time)) {
	d.mu.Lock()
	f(d.plan, time.Now())
	d.mu.Unlock()
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// run shows what is due until ctx ends.
func (d *desk) run(ctx context.Context) {
	defer d.hangUp()
	for ctx.Err() == nil {
		wait := d.work(ctx)
		timer := time.NewTimer(wait)
		var from <-chan said
		var gone <-chan struct{}
		if d.helper != nil {
			from, gone = d.helper.said, d.helper.done
		}
		select {
		case <-ctx.Done():
		case <-d.woken:
		case <-timer.C:
		case s := <-from:
			d.heard(ctx, s)
		case <-gone:
			d.failed(fmt.Errorf("the helper ended: %w", d.helper.err))
		}
		timer.Stop()
	}
}

// work shows what is due and returns how long nothing will be.
func (d *desk) work(ctx context.Context) time.Duration {
	now := time.Now()
	if rest := d.resting.Sub(now); rest > 0 {
		return rest
	}
	d.mu.Lock()
	toasts, wake := d.plan.due(now)
	d.mu.Unlock()
	for i, t := range toasts {
		if err := d.show(ctx, t); err != nil {
			d.change(func(p *plan, _ time.Time) {
				for _, t := range toasts[i:] {
					p.missed(t.Key)
				}
			})
			d.failed(err)
			return time.Until(d.resting)
		}
	}
	if wake.IsZero() {
		wake = now.Add(idleAfter)
	}
	if d.helper != nil && now.Sub(d.active) > idleAfter {
		d.hangUp()
	}
	return max(time.Until(wake), 10*time.Millisecond)
}

func (d *desk) show(ctx context.Context, t toast) error {
	if d.helper == nil {
		conn, err := d.deps.Spawn(ctx, d.uid)
		if err != nil {
			return fmt.Errorf("start helper: %w", err)
		}
		d.helper = listenTo(conn)
		d.count.helpers.Add(1)
	}
	d.active = time.Now()
	if err := d.helper.conn.SetWriteDeadline(d.active.Add(writeWithin)); err != nil {
		return fmt.Errorf("talk to helper: %w", err)
	}
	if err := writeLine(d.helper.conn, t); err != nil {
		return fmt.Errorf("talk to helper: %w", err)
	}
	d.count.sent.Add(1)
	return nil
}

// failed ends the helper and rests: whatever is wrong with a person's session
// will be for a while.
func (d *desk) failed(err error) {
	now := time.Now()
	if now.Sub(d.active) > longPause {
		d.pause = 0
	}
	d.hangUp()
	d.pause = min(max(2*d.pause, d.plan.pace.Pause), longPause)
	d.resting = now.Add(d.pause)
	d.count.failed.Add(1)
	d.log.Info("notifications on a desktop rest", "uid", d.uid, "pause", d.pause, "error", err)
}

func (d *desk) hangUp() {
	if d.helper == nil {
		return
	}
	close(d.helper.quit)
	_ = d.helper.conn.Close() // it is over
	<-d.helper.done
	d.helper = nil
}

// heard takes one line of the helper, which may lie.
func (d *desk) heard(ctx context.Context, s said) {
	d.active = time.Now()
	switch s.Event {
	case saidShown:
		d.count.shown.Add(1)
		d.pause = 0
	case saidWaiting:
		d.count.waiting.Add(1)
	case saidDismissed:
		d.mu.Lock()
		d.plan.dismissed(s.Key)
		d.mu.Unlock()
	case saidAction:
		d.clicked(ctx, s.Key, parseWant(s.Action))
	}
}

// clicked answers a click on a toast that this desk showed.
func (d *desk) clicked(ctx context.Context, key uint64, want Want) {
	d.mu.Lock()
	alert, ok := d.plan.alert(key)
	d.mu.Unlock()
	now := time.Now()
	if !ok || want == WantInvalid || d.deps.Answer == nil || now.Sub(d.answered) < answerEvery {
		return
	}
	d.answered = now
	d.count.clicks.Add(1)
	answerCtx, cancel := context.WithTimeout(ctx, answerIn)
	defer cancel()
	text, err := d.deps.Answer(answerCtx, Click{UID: d.uid, Alert: alert, Want: want})
	if err != nil {
		d.log.Warn("a click on a notification has no answer", "uid", d.uid, "want", want.String(), "error", err)
		return
	}
	if err := d.show(ctx, answer(key, text)); err != nil {
		d.failed(err)
	}
}

func listenTo(conn net.Conn) *helper {
	h := &helper{conn: conn, said: make(chan said), quit: make(chan struct{}), done: make(chan struct{})}
	go h.read()
	return h
}

// read hands on what the helper says until the connection ends. A helper that
// says more than the desk takes waits.
func (h *helper) read() {
	defer close(h.done)
	lines := newLineReader(h.conn)
	for {
		var s said
		if err := lines.read(&s); err != nil {
			h.err = err
			if errors.Is(err, io.EOF) {
				h.err = errors.New("its connection is closed")
			}
			return
		}
		select {
		case h.said <- s:
		case <-h.quit:
			return
		}
	}
}
