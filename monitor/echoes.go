package monitor

import (
	"time"

	"snitch/monitor/event"
)

// Bounds of echoes.
const (
	echoFor  = 2 * time.Second // at least
	maxEchos = 65536
)

// echoes remembers accepted connections whose row is closed and dropped. On some
// kernels a last word of such a socket, without a byte, comes in a later drain
// than its end: it is an echo and not another connection. A socket that
// connects can do so again, so only accepted ones are remembered.
type echoes struct {
	young, old map[event.FlowKey]struct{}
	aged       time.Time
}

func (e *echoes) note(key event.FlowKey) {
	if key.Kind != event.FlowAccept || key.Cookie == 0 || len(e.young) >= maxEchos {
		return
	}
	if e.young == nil {
		e.young = map[event.FlowKey]struct{}{}
	}
	e.young[key] = struct{}{}
}

// has reports whether f is an echo.
func (e *echoes) has(f *event.Flow) bool {
	if f.Kind != event.FlowAccept || f.SentOps+f.RecvOps+f.Sent+f.Received != 0 {
		return false
	}
	_, young := e.young[f.FlowKey]
	_, old := e.old[f.FlowKey]
	return young || old
}

// age forgets what is older than twice echoFor.
func (e *echoes) age(now time.Time) {
	if now.Sub(e.aged) < echoFor {
		return
	}
	e.aged, e.old, e.young = now, e.young, nil
}
