package dns

import (
	"net/netip"
	"slices"
	"time"

	"snitch/monitor/event"
)

// Evidence is a name and what speaks for it. Policy may believe it for an allow
// only when its source is dns, resolved or dns-other and both Configured and
// Valid hold; a grace beyond Expires is for policy to give.
type Evidence struct {
	event.Name
	Expires    time.Time // end of the time to live; zero: the source states none
	Valid      bool      // the time to live covered the moment at which the connection began
	Configured bool      // a resolver that the host is configured with said so
	Late       bool      // learned after the connection had begun
	ECH        bool      // the ClientHello hides a name: SNI may only be the front's
}

// Trustworthy reports whether an allow rule may rest on e: an answer of a
// configured resolver whose time to live covered the beginning.
func (e *Evidence) Trustworthy() bool {
	switch e.Source {
	case event.NameDNS, event.NameResolved, event.NameDNSOther:
		return e.Configured && e.Valid
	}
	return false
}

// query is one lookup.
type query struct {
	id    event.ProcessID
	claim claimKey
	addr  netip.Addr
	at    time.Time
}

// watcher is a connection that may yet get a better name.
type watcher struct {
	query
	domain string
	source event.NameSource
}

// Lookup returns the best name for a connection: process id, socket cookie,
// protocol and remote address, begun at at. The zero Name means that there is
// none yet; Changed tells when that changes. Safe for concurrent use.
func (n *Names) Lookup(id event.ProcessID, cookie uint64, proto uint16, remote netip.Addr, at time.Time) event.Name {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := newQuery(id, cookie, proto, remote, at)
	e := n.best(&q)
	now := n.now()
	n.claims.touch(q.claim, now)
	if e.Source != event.NameDNS && now.Sub(at) < watchLife {
		n.watch(&q, &e, now)
	}
	if e.Source == event.NameNone {
		n.askReverse(q.addr, now)
	}
	return e.Name
}

// Candidates returns all that is known about the name of a connection, best
// first; the first is what Lookup returns. Safe for concurrent use.
func (n *Names) Candidates(id event.ProcessID, cookie uint64, proto uint16, remote netip.Addr, at time.Time) []Evidence {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := newQuery(id, cookie, proto, remote, at)
	var out []Evidence
	n.each(&q, func(e *Evidence, _ string) { out = append(out, *e) })
	claim, _ := n.claims.get(q.claim)
	slices.SortStableFunc(out, func(a, b Evidence) int {
		switch {
		case better(&a, &b, claim.domain):
			return -1
		case better(&b, &a, claim.domain):
			return 1
		}
		return 0
	})
	return out
}

// Changed returns the cookies of sockets whose name changed since the last
// call, in no order; some may be of connections that were never looked up. Safe
// for concurrent use.
func (n *Names) Changed() []uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.changed) == 0 {
		return nil
	}
	out := make([]uint64, 0, len(n.changed))
	for cookie := range n.changed {
		out = append(out, cookie)
	}
	clear(n.changed)
	return out
}

func newQuery(id event.ProcessID, cookie uint64, proto uint16, remote netip.Addr, at time.Time) query {
	addr := remote.Unmap()
	return query{id: id, addr: addr, at: at, claim: claimKey{cookie, addr, proto == event.ProtoTCP}}
}

func (n *Names) best(q *query) (best Evidence) {
	n.each(q, func(e *Evidence, claimed string) {
		if best.Source == event.NameNone || better(e, &best, claimed) {
			best = *e
		}
	})
	return best
}

// each calls yield for every piece of evidence, with the claim of the
// connection; within a source the newest, or the first of the file, comes first.
func (n *Names) each(q *query, yield func(e *Evidence, claimed string)) {
	c, claimed := n.claims.get(q.claim)
	emit := func(e Evidence) {
		e.ECH = c.ech
		if e.Domain != c.domain {
			e.SNI = c.domain
		}
		yield(&e, c.domain)
	}
	emitFact := func(source event.NameSource, f *fact) {
		e := Evidence{Name: event.Name{Domain: f.domain, Source: source, At: f.learned, Server: f.server},
			Expires: f.expires, Configured: f.configured}
		began := q.at.Add(slack)
		if e.At.After(began) { // renewed since: what counts is that it was known then
			e.At = f.known
		}
		e.Late = e.At.After(began)
		e.Valid = !f.since.After(began) && !f.expires.Before(q.at)
		emit(e)
	}
	n.ownFacts(q, func(f *fact) { emitFact(event.NameDNS, f) })
	for _, source := range [...]event.NameSource{event.NameResolved, event.NameDNSOther} {
		facts := n.table.facts(scope{source: source}, q.addr)
		for i := len(facts) - 1; i >= 0; i-- {
			emitFact(source, &facts[i])
		}
	}
	for _, name := range n.hosts.byAddr[q.addr] {
		emit(Evidence{Name: event.Name{Domain: name, Source: event.NameHosts, At: n.hosts.read}})
	}
	if claimed {
		emit(Evidence{Name: event.Name{Domain: c.domain, Source: c.source, At: c.at}})
	}
	if r, ok := n.reversed.get(q.addr); ok && r.domain != "" {
		emit(Evidence{Name: event.Name{Domain: r.domain, Source: event.NameReverse, At: r.at}})
	}
}

// rank orders the sources; the package comment says why.
func rank(e *Evidence) int {
	switch e.Source {
	case event.NameReverse:
		return 7
	case event.NameSNI, event.NameQUIC:
		return 5
	case event.NameHosts:
		return 3
	}
	switch {
	case e.Late:
		return 6
	case e.Source == event.NameDNS:
		return 1
	case e.Source == event.NameResolved:
		return 2
	}
	return 4
}

func better(a, b *Evidence, claimed string) bool {
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra < rb
	}
	if ma, mb := a.Domain == claimed, b.Domain == claimed; ma != mb {
		return ma
	}
	return a.At.After(b.At)
}

func (n *Names) watch(q *query, e *Evidence, now time.Time) {
	list, _ := n.watches.get(q.addr)
	i := slices.IndexFunc(list, func(w *watcher) bool { return w.claim == q.claim && w.id == q.id })
	switch {
	case i >= 0:
		list[i].domain, list[i].source = e.Domain, e.Source
		return
	case len(list) >= n.limits.watchers:
		list = slices.Delete(list, 0, 1)
	}
	n.watches.put(q.addr, append(list, &watcher{*q, e.Domain, e.Source}), now)
}

// notify marks the connections to addr whose name is now another.
func (n *Names) notify(addr netip.Addr) {
	list, _ := n.watches.get(addr)
	for _, w := range list {
		e := n.best(&w.query)
		if e.Domain == w.domain && e.Source == w.source {
			continue
		}
		w.domain, w.source = e.Domain, e.Source
		n.change(w.claim.cookie)
	}
}

func (n *Names) change(cookie uint64) {
	if _, known := n.changed[cookie]; !known && len(n.changed) >= n.limits.changed {
		n.lost(1) // the row keeps its old name until its next update
		return
	}
	n.changed[cookie] = struct{}{}
}
