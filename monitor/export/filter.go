package export

import (
	"sync"

	"snitch/monitor/event"
)

// maxKept bounds the connections whose recording is remembered. The monitor
// closes its rows before it has so many.
const maxKept = 1 << 18

// Filter applies a Privacy, which may change while it is used. It is safe for
// concurrent use.
type Filter struct {
	mu      sync.Mutex // guards what follows
	privacy Privacy
	// kept are open connections of which a snapshot went out: they are recorded
	// to their end, also when a name or a Privacy that came later would have them
	// ignored, for half a connection is a wrong one.
	kept    map[uint64]struct{}
	ignored Ignored
}

// Ignored counts what was not recorded since the start.
type Ignored struct {
	Connections uint64
	Sent        uint64 // bytes of those that were closed
	Received    uint64
}

// NewFilter makes a filter.
func NewFilter(p Privacy) *Filter { return &Filter{privacy: p, kept: map[uint64]struct{}{}} }

// Set changes what is recorded from now on.
func (f *Filter) Set(p Privacy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.privacy = p
}

// Whole reports whether the facts of connections are recorded as they are.
func (f *Filter) Whole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.privacy.Addresses && f.privacy.Ports && f.privacy.Commands
}

// Ignored is what was not recorded.
func (f *Filter) Ignored() Ignored {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ignored
}

// Connections are those of in that are recorded, as they are recorded. It may
// use in for its result.
func (f *Filter) Connections(in []event.Connection) []event.Connection {
	return f.connections(in, true)
}

// Late are connections that Connections had before, with a decision that came
// later: they are not counted again.
func (f *Filter) Late(in []event.Connection) []event.Connection { return f.connections(in, false) }

func (f *Filter) connections(in []event.Connection, count bool) []event.Connection {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := in[:0]
	for i := range in {
		if c := &in[i]; f.records(c, count) {
			f.privacy.connection(c)
			out = append(out, *c)
		}
	}
	clear(in[len(out):])
	return out
}

// records decides once for a connection.
func (f *Filter) records(c *event.Connection, count bool) bool {
	_, kept := f.kept[c.ID]
	if !kept && f.privacy.Ignore.ignores(c) {
		if c.Closed && count {
			f.ignored.Connections++
			f.ignored.Sent += c.Sent
			f.ignored.Received += c.Received
		}
		return false
	}
	switch {
	case c.Closed:
		delete(f.kept, c.ID)
	case !kept && len(f.kept) < maxKept:
		f.kept[c.ID] = struct{}{}
	}
	return true
}

// Alerts takes from a, in place, what is not to be recorded.
func (f *Filter) Alerts(a []event.Alert) []event.Alert {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range a {
		f.privacy.alert(&a[i])
	}
	return a
}

// Execs takes from x, in place, what is not to be recorded.
func (f *Filter) Execs(x []event.ExecSeen) []event.ExecSeen {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range x {
		x[i].Process = f.privacy.process(x[i].Process)
	}
	return x
}

// Losses takes from l, in place, what is not to be recorded.
func (f *Filter) Losses(l []event.Loss) []event.Loss {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range l {
		l[i].Process = f.privacy.process(l[i].Process)
	}
	return l
}
