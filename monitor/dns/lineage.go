package dns

import (
	"time"

	"snitch/monitor/event"
)

// node is the place of a process among those that have names.
type node struct {
	parent   event.ProcessID // zero: none that had names
	forked   uint64          // sequence number at the fork: later facts of the parent do not count
	children int             // nodes that name this one as parent
	exited   time.Time       // zero: it lives
}

// Fork gives child the names that parent has now. A parent without names, the
// usual case, costs one lookup and no memory. Safe for concurrent use; call it
// in the order of the kernel's records, among those given to Payload.
func (n *Names) Fork(child, parent event.ProcessID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, inherits := n.nodes[parent]
	if child == parent || !inherits && !n.table.has(scope{event.NameDNS, parent}) {
		return
	}
	if _, known := n.nodes[child]; known {
		return
	}
	if len(n.nodes)+2 > n.limits.nodes {
		n.lost(1)
		return
	}
	if !inherits {
		n.nodes[parent] = &node{}
	}
	n.nodes[parent].children++
	n.nodes[child] = &node{parent: parent, forked: n.seq}
}

// Exec ends the old image: the names that it received lay in its memory and are
// gone. Safe for concurrent use.
func (n *Names) Exec(old, _ event.ProcessID) { n.Exit(old) }

// Exit ends a process. Its names stay for a while, since its last connections
// are drained later, and for as long as children live that inherited them.
// Safe for concurrent use.
func (n *Names) Exit(id event.ProcessID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d, ok := n.nodes[id]
	if !ok {
		if !n.table.has(scope{event.NameDNS, id}) {
			return
		}
		if len(n.nodes) >= n.limits.nodes {
			n.table.drop(scope{event.NameDNS, id})
			n.lost(1)
			return
		}
		d = &node{}
		n.nodes[id] = d
	}
	if d.exited.IsZero() {
		d.exited = n.now()
	}
}

// bury drops the processes that ended before t and have no heirs, and those
// whose end was never told but that no longer have or inherit a name.
func (n *Names) bury(t time.Time) {
	for id, d := range n.nodes {
		for d != nil && d.children == 0 && (d.endedBefore(t) || !n.hasNames(id, d)) {
			delete(n.nodes, id)
			n.table.drop(scope{event.NameDNS, id})
			id, d = d.parent, n.nodes[d.parent]
			if d != nil {
				d.children--
			}
		}
	}
}

func (d *node) endedBefore(t time.Time) bool { return !d.exited.IsZero() && d.exited.Before(t) }

func (n *Names) hasNames(id event.ProcessID, d *node) bool {
	for depth := 0; d != nil && depth <= event.MaxAncestors; depth++ {
		if n.table.has(scope{event.NameDNS, id}) {
			return true
		}
		id, d = d.parent, n.nodes[d.parent]
	}
	return false
}

// ownFacts calls yield for each fact about q.addr that the process received
// itself or inherited.
func (n *Names) ownFacts(q *query, yield func(*fact)) {
	before := ^uint64(0)
	for id, depth := q.id, 0; depth <= event.MaxAncestors; depth++ {
		facts := n.table.facts(scope{event.NameDNS, id}, q.addr)
		for i := len(facts) - 1; i >= 0; i-- {
			if facts[i].first <= before {
				yield(&facts[i])
			}
		}
		d, ok := n.nodes[id]
		if !ok || d.parent.IsZero() {
			return
		}
		id, before = d.parent, min(before, d.forked)
	}
}
