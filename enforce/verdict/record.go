package verdict

import (
	"context"
	"time"

	"snitch/bpf"
	"snitch/monitor/event"
)

// denied records an attempt that the kernel refused.
func (b *Backend) denied(ctx context.Context, e *bpf.VerdictEvent) {
	p := b.processOf(processID(e.Id))
	if p == nil {
		b.stats.unknown.Add(1)
		return
	}
	c := b.connection(p, e)
	_, c.Decision = b.deps.Decider.Decide(ctx, c)
	b.record(c, e)
}

// record hands a denial over. What the kernel did stands, also where the rules
// say otherwise by now.
func (b *Backend) record(c *event.Connection, e *bpf.VerdictEvent) {
	d := &c.Decision
	if d.Action != event.ActionDeny {
		reason, id := b.why(e)
		*d = event.Decision{Action: event.ActionDeny, Would: d.Would, Mode: event.ModeEnforce, Rule: id, Reason: reason,
			Revision: d.Revision, Input: d.Input, At: time.Now(), Matches: d.Matches}
	}
	c.Result, c.Closed = event.ResultDenied, true
	b.deps.Recorder.Denied(c)
}

// Reasons of denials that no rule explains.
const (
	reasonRouted    = "the packet named hops of its own"
	reasonPieces    = "a fragment that names no port, where rules speak of ports"
	reasonDead      = "the daemon was not there to decide"
	reasonUndecided = "nobody decided in time"
	reasonOlder     = "denied by rules that were replaced meanwhile"
)

func (b *Backend) why(e *bpf.VerdictEvent) (reason, id string) {
	switch {
	case e.Flags&bpf.VerdictRouted != 0:
		return reasonRouted, ""
	case e.Flags&bpf.VerdictPieces != 0:
		return reasonPieces, ""
	case e.Flags&bpf.VerdictDead != 0:
		return reasonDead, ""
	case e.Type == bpf.VerdictAsked, e.Flags&bpf.VerdictHeld != 0:
		return reasonUndecided, ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil || b.current.number != e.Generation {
		return reasonOlder, ""
	}
	id = b.current.ruleID(e.Rule)
	if r := b.current.policy.Set.Rule(id); r != nil {
		reason = r.Reason
	}
	return reason, id
}
