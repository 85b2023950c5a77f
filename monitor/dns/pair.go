package dns

import (
	"net/netip"

	"snitch/monitor/event"
)

const (
	portMDNS  = 5353
	portLLMNR = 5355
	portDNS   = 53
)

// pendingKey is all that an answer must have in common with its query. Names
// are compared in lower case, for resolvers scramble the case (0x20).
type pendingKey struct {
	question
	cookie uint64
	tcp    bool
	server netip.AddrPort
}

// pending holds the queries that wait for an answer. A process that floods it
// loses its own names first.
type pending struct {
	*cache[pendingKey, event.ProcessID]
	owners map[event.ProcessID]int
	limit  int // for one process
}

func newPending(l limits) *pending {
	return &pending{newCache[pendingKey, event.ProcessID](l.pending), make(map[event.ProcessID]int), l.processPending}
}

func (w *pending) release(_ pendingKey, id event.ProcessID) {
	if w.owners[id]--; w.owners[id] <= 0 {
		delete(w.owners, id)
	}
}

func isMulticastDNS(p *event.Payload) bool {
	port := p.Remote.Port()
	return port == portMDNS || port == portLLMNR || p.Remote.Addr().IsMulticast()
}

// query notes a query of p's process; it reports whether msg is one.
func (n *Names) query(p event.Payload, msg []byte, _ bool) bool {
	q, err := parseQuery(msg)
	if err != nil {
		n.refuse(err)
		return false
	}
	n.stats.Queries++
	k := pendingKey{q, p.Cookie, p.Proto == event.ProtoTCP, p.Remote}
	w := n.pending
	if _, again := w.remove(k); again {
		w.release(k, p.ID)
	}
	if w.owners[p.ID] >= w.limit {
		n.lost(1)
		return true
	}
	if old, evicted := w.put(k, p.ID, n.now()); evicted {
		w.release(k, old)
		n.lost(1)
	}
	w.owners[p.ID]++
	return true
}

// answer believes msg if p's process asked for it on this socket; it reports
// whether msg belongs to a query.
func (n *Names) answer(p event.Payload, msg []byte, cut bool) bool {
	q, err := parseQuestion(msg)
	if err != nil {
		n.refuse(err)
		return false
	}
	n.stats.Answers++
	k := pendingKey{q, p.Cookie, p.Proto == event.ProtoTCP, p.Remote}
	if id, ok := n.pending.get(k); !ok || id != p.ID {
		n.stats.Unpaired++
		return false
	}
	a, err := parseAnswer(msg, cut)
	if err != nil {
		n.refuse(err)
		return false
	}
	n.pending.remove(k)
	n.pending.release(k, p.ID)
	n.stats.Paired++
	n.stats.Foreign += uint64(a.foreign)
	if a.partial {
		n.stats.Partial++
	}
	n.learnAnswer(&p, &a)
	return true
}

func (n *Names) learnAnswer(p *event.Payload, a *answer) {
	host := p.NetNS == n.netns
	f := fact{domain: a.name, server: p.Remote.Addr(), learned: n.wall(p.Boot)}
	f.configured = host && p.Remote.Port() == portDNS && n.resolvers.has(f.server)
	for _, d := range a.addrs {
		f.expires = f.learned.Add(seconds(d.ttl))
		n.learn(scope{event.NameDNS, p.ID}, d.addr, f)
		// A name of this host's own addresses that another process was told says
		// nothing: block lists answer 127.0.0.1 for thousands of names.
		if f.configured && !d.addr.IsLoopback() {
			n.learn(scope{source: event.NameDNSOther}, d.addr, f)
		}
	}
}

// learn stores one fact and tells the connections that wait for a name of addr.
func (n *Names) learn(s scope, addr netip.Addr, f fact) {
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
		return
	}
	f.first = n.seq
	if dropped := n.table.learn(s, addr, f, n.now()); dropped > 0 {
		n.lost(uint64(dropped))
	}
	n.stats.Learned++
	n.notify(addr)
}
