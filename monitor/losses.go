package monitor

import (
	"sync"
	"time"

	"snitch/monitor/event"
)

// Losses collects what the rooms below could not keep. It is the Loss function
// that they are given, and safe for concurrent use.
type Losses struct {
	mu      sync.Mutex
	pending map[event.LossCause]LossTotal
	total   map[event.LossCause]LossTotal
	kernel  map[event.LossCause]LossTotal // last totals read from the kernel
}

// NewLosses makes an empty collection.
func NewLosses() *Losses {
	return &Losses{pending: map[event.LossCause]LossTotal{}, total: map[event.LossCause]LossTotal{},
		kernel: map[event.LossCause]LossTotal{}}
}

// Count adds n losses of a cause.
func (l *Losses) Count(cause event.LossCause, n uint64) { l.add(cause, LossTotal{Count: n}) }

// Note adds n losses to the totals only: the store records its own.
func (l *Losses) Note(cause event.LossCause, n uint64) { l.note(cause, LossTotal{Count: n}) }

// note adds to the totals what is told to the sink in another way.
func (l *Losses) note(cause event.LossCause, n LossTotal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total[cause] = l.total[cause].plus(n)
}

func (l *Losses) add(cause event.LossCause, n LossTotal) {
	if n == (LossTotal{}) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending[cause] = l.pending[cause].plus(n)
	l.total[cause] = l.total[cause].plus(n)
}

func (t LossTotal) plus(n LossTotal) LossTotal {
	return LossTotal{Count: t.Count + n.Count, Sent: t.Sent + n.Sent, Received: t.Received + n.Received}
}

// fromKernel takes the kernel's total of one cause; only what came since the
// last call is counted.
func (l *Losses) fromKernel(cause event.LossCause, total LossTotal) {
	last := l.kernel[cause]
	l.kernel[cause] = total
	l.add(cause, LossTotal{Count: total.Count - last.Count, Sent: total.Sent - last.Sent, Received: total.Received - last.Received})
}

// take returns what was counted since the last call.
func (l *Losses) take(now time.Time) []event.Loss {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []event.Loss
	for cause, t := range l.pending {
		out = append(out, event.Loss{Time: now, Cause: cause, Count: t.Count, Sent: t.Sent, Received: t.Received})
	}
	clear(l.pending)
	return out
}

// Totals is a copy of the counters since the start.
func (l *Losses) Totals() map[event.LossCause]LossTotal {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[event.LossCause]LossTotal, len(l.total))
	for cause, t := range l.total {
		out[cause] = t
	}
	return out
}
