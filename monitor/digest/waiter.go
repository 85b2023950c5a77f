package digest

import (
	"sync"
	"time"

	"snitch/monitor/event"
)

// waiter is one request without a final answer.
type waiter struct {
	req  event.HashRequest
	path string // a script; "" for an executable
	done func(event.HashResult)

	settled bool // it waited for the readers of fanotify
	late    bool // in vain: one of them is stuck, or does not run

	// answers orders the callbacks: the final answer comes last. It is held
	// while done runs, so that an expiry cannot be overtaken.
	answers sync.Mutex
	expired bool // HashDeadline was given
	over    bool // the final answer was given
	timer   *time.Timer
}

// expire gives the provisional answer. It reports whether it did.
func (w *waiter) expire() bool {
	w.answers.Lock()
	defer w.answers.Unlock()
	if w.over || w.expired {
		return false
	}
	w.expired = true
	w.done(event.HashResult{Reason: event.HashDeadline})
	return true
}

// finish gives the final answer; one that says HashDeadline again is kept back.
// Only the first call counts, and it is counted before done runs.
func (w *waiter) finish(r event.HashResult, count func(event.HashReason)) {
	w.answers.Lock()
	defer w.answers.Unlock()
	if w.over {
		return
	}
	w.over = true
	w.timer.Stop()
	count(r.Reason)
	if !w.expired || r.Reason != event.HashDeadline {
		w.done(r)
	}
}
