package verdict

import (
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// waits reports whether the answer about p is to be put off: a digest or package
// that rules read is being looked for, and there is time.
func (b *Backend) waits(p *event.Process) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil || !b.current.waits(p) {
		return false
	}
	since := p.Started
	if b.began.After(since) {
		since = b.began
	}
	// What nobody decides by the deadline gets the default: better an answer by
	// what is known, which can only be stricter.
	return time.Since(since) < b.desired.Hold.Deadline*3/4
}

// waits reports whether a fact of p that the rules read is being looked for.
func (g *generation) waits(p *event.Process) bool {
	for first := true; p != nil; p, first = p.Parent, false {
		if first && incomplete(p, g.reads.Process) || !first && (incomplete(p, g.reads.Parent) || incomplete(p, g.reads.Ancestors)) {
			return true
		}
	}
	return false
}

func incomplete(p *event.Process, r rule.SubjectReads) bool {
	x := &p.Executable
	return r.SHA256 && x.Reason == event.HashPending || r.Package && (x.PackagePending || x.Reason == event.HashPending) ||
		r.ScriptSHA256 && p.Script != nil && p.Script.Reason == event.HashPending
}
