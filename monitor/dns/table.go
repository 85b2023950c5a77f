package dns

import (
	"net/netip"
	"slices"
	"time"

	"snitch/monitor/event"
)

// fact is one name of one address.
type fact struct {
	domain     string
	server     netip.Addr
	configured bool
	first      uint64    // sequence number of the payload that taught it first
	known      time.Time // first time learned
	since      time.Time // it is valid without a gap from then until expires
	learned    time.Time // last time
	expires    time.Time // end of its time to live
}

// renew carries over what the older fact o about the same name knows.
func (f *fact) renew(o *fact) {
	f.first, f.known = o.first, o.known
	if !f.learned.After(o.expires) && f.configured == o.configured {
		f.since = o.since
	}
}

// scope is who may use a fact: a process (id set), or the host.
type scope struct {
	source event.NameSource
	id     event.ProcessID
}

// table holds facts by scope and address, three times bounded: names of one
// address, addresses of one scope, addresses in all.
type table struct {
	limits limits
	scopes *cache[scope, *cache[netip.Addr, []fact]]
	addrs  int // of all scopes
}

func newTable(l limits) *table {
	return &table{limits: l, scopes: newCache[scope, *cache[netip.Addr, []fact]](l.scopes)}
}

// learn stores f and returns how many facts were dropped for it.
func (t *table) learn(s scope, addr netip.Addr, f fact, now time.Time) (dropped int) {
	addrs, ok := t.scopes.get(s)
	if !ok {
		limit := t.limits.processAddrs
		if s.id.IsZero() {
			limit = t.limits.hostAddrs
		}
		addrs = newCache[netip.Addr, []fact](limit)
	}
	f.known, f.since = f.learned, f.learned
	if old, evicted := t.scopes.put(s, addrs, now); evicted {
		dropped += t.forget(old)
	}
	facts, known := addrs.get(addr)
	if i := slices.IndexFunc(facts, func(o fact) bool { return o.domain == f.domain }); i >= 0 {
		f.renew(&facts[i])
		facts = slices.Delete(facts, i, i+1)
	}
	if len(facts) >= t.limits.names {
		facts = slices.Delete(facts, 0, 1)
		dropped++
	}
	old, evicted := addrs.put(addr, append(facts, f), now)
	if !known {
		t.addrs++
	}
	if evicted {
		t.addrs--
		dropped += len(old)
	}
	return dropped + t.shrink()
}

// shrink drops the oldest addresses of the scope that learned last the longest ago.
func (t *table) shrink() (dropped int) {
	for t.addrs > t.limits.addrs {
		s, _ := t.scopes.oldest()
		addrs, _ := t.scopes.get(s)
		_, facts, _ := addrs.pop()
		t.addrs--
		dropped += len(facts)
		if addrs.len() == 0 {
			t.scopes.remove(s)
		}
	}
	return dropped
}

func (t *table) forget(addrs *cache[netip.Addr, []fact]) (facts int) {
	for i := addrs.root.next; i != &addrs.root; i = i.next {
		facts += len(i.value)
	}
	t.addrs -= addrs.len()
	return facts
}

// facts returns what s knows about addr, the latest last; read only.
func (t *table) facts(s scope, addr netip.Addr) []fact {
	addrs, ok := t.scopes.get(s)
	if !ok {
		return nil
	}
	facts, _ := addrs.get(addr)
	return facts
}

func (t *table) has(s scope) bool {
	_, ok := t.scopes.get(s)
	return ok
}

func (t *table) drop(s scope) {
	if addrs, ok := t.scopes.remove(s); ok {
		t.forget(addrs)
	}
}

// expire drops addresses that taught nothing since before and whose facts have
// all expired before it. What is learned anew every day stays.
func (t *table) expire(before time.Time) {
	for s := t.scopes.root.next; s != &t.scopes.root; {
		next := s.next
		for i := s.value.root.next; i != &s.value.root && i.used.Before(before); {
			following := i.next
			if !slices.ContainsFunc(i.value, func(f fact) bool { return !f.expires.Before(before) }) {
				s.value.remove(i.key)
				t.addrs--
			}
			i = following
		}
		if s.value.len() == 0 {
			t.scopes.remove(s.key)
		}
		s = next
	}
}
