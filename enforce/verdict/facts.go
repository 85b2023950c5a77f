package verdict

import (
	"snitch/monitor/event"
	"snitch/policy/rule"
)

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
	read := comes(x.Reason)
	switch {
	case (r.SHA256 || r.Reputation) && read, r.Package && (x.PackagePending || read):
		return true
	case r.Exe && read && (x.View == event.ViewUnverified || x.Kind == event.ExecutableUnknown):
		return true // who reads the file sees what it is called
	}
	return r.ScriptSHA256 && p.Script != nil && comes(p.Script.Reason)
}

// comes: one that found the queue full is asked for again.
func comes(r event.HashReason) bool { return r == event.HashPending || r == event.HashBusy }
