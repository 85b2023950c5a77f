package monitor

import (
	"fmt"
	"time"

	"snitch/bpf"
	"snitch/monitor/event"
)

// pendingExec is an exec that waits for its digest before it is published.
type pendingExec struct {
	id   event.ProcessID
	at   time.Time
	seen time.Time
}

// maxPendingExecs bounds the execs that wait; beyond it the oldest leave with
// the facts that they have.
const maxPendingExecs = 16384

// record handles one record of the kernel's ring.
func (m *Monitor) record(raw []byte) {
	v, err := decode(raw)
	if err != nil {
		m.deps.Losses.Count(event.LossBadRecord, 1)
		m.deps.Log.Warn("kernel record does not decode", "error", err, "length", len(raw))
		return
	}
	switch r := v.(type) {
	case event.Exec:
		m.now.Execs++
		m.deps.Processes.Exec(r)
		old := r.ID
		old.Exec-- // one exec raises it by one
		m.deps.Names.Exec(old, r.ID)
		m.gone(old)
		m.tell(r.ID)
		if m.cfg.EveryExec {
			m.execs = append(m.execs, pendingExec{id: r.ID, at: m.clock.wall(r.Boot), seen: time.Now()})
		}
	case event.Fork:
		m.now.Forks++
		m.deps.Processes.Fork(r)
		m.deps.Names.Fork(r.Child, r.Parent)
		m.tell(r.Child)
	case event.Exit:
		m.now.Exits++
		m.deps.Processes.Exit(r)
		m.deps.Names.Exit(r.ID)
		m.gone(r.ID)
	case event.Payload:
		m.now.Payloads++
		m.deps.Names.Payload(r)
	case wakeRecord:
		m.wake = true
	}
}

// takeExecs returns the execs whose facts are complete, in their order.
func (m *Monitor) takeExecs(now time.Time) []event.ExecSeen {
	var out []event.ExecSeen
	n := 0
	for _, e := range m.execs {
		p := m.deps.Processes.Lookup(e.id)
		if !p.Waits() || now.Sub(e.seen) > settleFor || len(m.execs) > maxPendingExecs {
			out = append(out, event.ExecSeen{Process: p, Time: e.at})
			continue
		}
		m.execs[n] = e
		n++
	}
	m.execs = m.execs[:n]
	return out
}

// drainLosses reads what the kernel side could not keep. Bytes that found the
// flow map full are told by process; the kernel's count of them also holds
// those that found the overflow map full, which have a cause of their own.
func (m *Monitor) drainLosses(now time.Time) error {
	totals, err := m.deps.Kernel.Losses()
	if err != nil {
		return fmt.Errorf("read losses: %w", err)
	}
	for cause := 1; cause < len(totals); cause++ {
		t := LossTotal{Count: totals[cause].Count, Sent: totals[cause].Sent, Received: totals[cause].Received}
		switch cause {
		case bpf.LossFlowMapFull:
		case bpf.LossMissed:
			m.deps.Losses.fromKernel(event.LossMissedRun, t)
		default:
			m.deps.Losses.fromKernel(event.LossCause(cause), t)
		}
	}
	err = m.deps.Kernel.DrainOverflow(func(id bpf.ProcessId, l bpf.Loss) {
		m.lost = append(m.lost, event.Loss{Time: now, Cause: event.LossFlowMapFull, Count: l.Count, Sent: l.Sent, Received: l.Received,
			Process: m.deps.Processes.Lookup(processID(id))})
		m.deps.Losses.note(event.LossFlowMapFull, LossTotal{Count: l.Count, Sent: l.Sent, Received: l.Received})
	})
	if err != nil {
		return fmt.Errorf("read overflow: %w", err)
	}
	return nil
}
