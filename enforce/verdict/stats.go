package verdict

import (
	"strings"
	"sync/atomic"

	"snitch/bpf"
	"snitch/enforce"
	"snitch/monitor/event"
)

// stats are counted by the goroutines.
type stats struct {
	lost    atomic.Uint64 // events that found no room
	failed  atomic.Uint64 // writes to the kernel that failed
	unknown atomic.Uint64 // asks about processes that nobody told of
	cut     atomic.Uint64 // connections destroyed
	last    atomic.Pointer[string]
}

// problem counts and logs what went wrong beside the way of a caller.
func (b *Backend) problem(doing string, err error) {
	if err == nil {
		return
	}
	b.stats.failed.Add(1)
	text := doing + ": " + err.Error()
	b.stats.last.Store(&text)
	b.deps.Log.Warn("verdicts are not complete", "doing", doing, "error", err)
}

// Status is what the backend does now.
func (b *Backend) Status() enforce.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := enforce.Status{Backend: "cgroup", Mode: event.ModeAudit, Hold: "none", FailClosed: b.desired.FailClosed, Lost: b.stats.lost.Load()}
	if last := b.stats.last.Load(); last != nil {
		s.Problem = *last
	}
	if b.kernel == nil || b.current == nil {
		return s
	}
	if b.desired.Hold.Deadline > 0 {
		s.Hold = "syn-drop"
	}
	s.Mode, s.Generation = event.ModeEnforce, uint64(b.current.number)
	s.Revision = b.current.policy.Set.Revision
	s.Classes, _ = b.current.classes.Len()
	s.Entries = b.current.entries
	where := b.desired.Scope
	if where == "" {
		where = "the root of cgroups"
	}
	for _, m := range b.kernel.Mechanisms() {
		hook := m.AttachPoint
		if !strings.Contains(hook, "/") || strings.HasPrefix(hook, "cgroup") { // sockops too
			hook += " at " + where
		}
		s.Hooks = append(s.Hooks, hook)
	}
	counts, err := b.kernel.Counts()
	if err != nil {
		s.Problem = err.Error()
		return s
	}
	s.Denied = counts[bpf.CountDenied] + counts[bpf.CountRouted] + counts[bpf.CountBadPacket] + counts[bpf.CountDeadRefused]
	s.Lost += counts[bpf.CountRingFull]
	s.Held, s.Expired = counts[bpf.CountHeld], counts[bpf.CountExpired]
	return s
}
