package verdict

import (
	"context"
	"net/netip"
	"time"

	"snitch/bpf"
	"snitch/monitor/event"
)

// How long an answer holds in the kernel: names expire, so not for ever. One
// that is not cacheable is for its socket only.
const (
	answerHolds     = time.Minute
	answerHoldsOnce = 10 * time.Second
	// catchUpWithin bounds how long an answer waits for what others are told.
	catchUpWithin = 200 * time.Millisecond
)

// answer decides what the kernel asked, and tells it.
func (b *Backend) answer(ctx context.Context, kernel *bpf.Verdicts, a *ask) {
	e := &a.event
	b.catchUp(ctx)
	p := b.processOf(processID(e.Id))
	if p == nil {
		b.stats.unknown.Add(1)
		return
	}
	if !a.due && b.await(p, e) {
		return
	}
	c := b.connection(p, e)
	if e.Flags&bpf.VerdictUnknown != 0 && b.classified(e) {
		// It has a class by now. The tables answer its next attempt; this one is
		// decided below, for the row that it asked about.
		b.deps.Log.Debug("classified a process that asked", "pid", e.Id.Pid)
	}
	decision, recorded := b.deps.Decider.Decide(ctx, c)
	d := bpf.VerdictDecision{Generation: e.Generation, Verdict: verdictOf(decision.Action), Rule: b.ruleNumber(decision.Rule)}
	if d.Verdict == 0 {
		return // what is undecided holds
	}
	holds := answerHolds
	if !decision.Cacheable {
		holds, d.Cookie = answerHoldsOnce, e.Cookie
	}
	until := time.Now().Add(holds)
	if !decision.Until.IsZero() && decision.Until.Before(until) {
		until = decision.Until
	}
	d.Until = bootTime(until)
	b.problem("answer the kernel", kernel.Decide(e.DecisionKey(), d))
	if e.Verdict == bpf.VerdictDeny { // it did not wait, and was refused
		c.Decision = recorded
		b.record(c, e)
	}
}

// catchUp has the latest program and the latest name known.
func (b *Backend) catchUp(ctx context.Context) {
	if b.deps.CatchUp == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWithin)
	defer cancel()
	b.deps.CatchUp(ctx)
}

// verdictOf is 0 for what decides nothing.
func verdictOf(a event.Action) uint8 {
	switch a {
	case event.ActionAllow, event.ActionAlert:
		return bpf.VerdictAllow
	case event.ActionDeny:
		return bpf.VerdictDeny
	}
	return 0
}

// classified reports whether the process of e has a class now.
func (b *Backend) classified(e *bpf.VerdictEvent) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learnLocked()
	s := b.live[processID(e.Id)]
	return s != nil && b.current != nil && s.classes.Generation[b.current.number&1] == b.current.number
}

func (b *Backend) ruleNumber(id string) uint32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return 0
	}
	return b.current.ruleNumber(id)
}

// connection is what an event of p is about.
func (b *Backend) connection(p *event.Process, e *bpf.VerdictEvent) *event.Connection {
	at := time.Now().Add(time.Duration(e.Time) - bootNow())
	c := &event.Connection{Process: p, Opened: at, Last: at, Direction: event.Direction(e.Direction), Family: e.Family, Proto: e.Proto,
		Local: end(e.Laddr, e.Lport), Remote: end(e.Raddr, e.Rport), Cookie: e.Cookie, NetNS: e.Netns,
		UID: p.UID, User: p.User, Cgroup: p.Cgroup}
	if b.deps.Complete != nil {
		b.deps.Complete(c)
	}
	return c
}

// processOf is what is known of a process, which may have ended; nil: nothing.
func (b *Backend) processOf(id event.ProcessID) *event.Process {
	b.mu.Lock()
	b.learnLocked()
	var told *event.Process
	if s := b.live[id]; s != nil {
		told = s.process
	}
	b.mu.Unlock()
	switch {
	case told != nil:
		return b.latest(id, told)
	case b.deps.Lookup != nil:
		return b.deps.Lookup(id)
	}
	return nil
}

// end is an address of the kernel's; all zeros is none.
func end(addr [16]byte, port uint16) netip.AddrPort {
	if addr == ([16]byte{}) && port == 0 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(addr).Unmap(), port)
}
