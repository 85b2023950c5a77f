package verdict

import (
	"context"
	"sync"
	"time"

	"snitch/bpf"
	"snitch/monitor/event"
)

const (
	// factsEvery is how often it is looked whether missing facts have come.
	factsEvery = 5 * time.Millisecond
	// putOffQueue bounds what waits for facts.
	putOffQueue = 1024
)

// ask is a question of the kernel. One that is due was put off for as long as
// could be.
type ask struct {
	event bpf.VerdictEvent
	due   bool
}

// putOff are asks whose answers want for facts: a digest or package that rules
// read is being looked for. A connect that is held asks again less and less
// often, so this is where it is noticed that they have come. Safe for concurrent
// use.
type putOff struct {
	mu      sync.Mutex
	waiting map[putOffKey]later
	wake    chan struct{} // of capacity 1
}

type putOffKey struct {
	decision bpf.VerdictDecisionKey
	cookie   uint64
}

type later struct {
	event bpf.VerdictEvent
	until time.Time // decide by what is known then
}

func newPutOff() *putOff {
	return &putOff{waiting: map[putOffKey]later{}, wake: make(chan struct{}, 1)}
}

// put keeps e, until the time of the first ask for the same when it is an ask
// again; false when there is no room.
func (p *putOff) put(e *bpf.VerdictEvent, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := putOffKey{decision: e.DecisionKey(), cookie: e.Cookie}
	if before, again := p.waiting[key]; again {
		until = before.until
	} else if len(p.waiting) >= putOffQueue {
		return false
	}
	p.waiting[key] = later{event: *e, until: until}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return true
}

func (p *putOff) list() []later {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]later, 0, len(p.waiting))
	for _, l := range p.waiting {
		all = append(all, l)
	}
	return all
}

func (p *putOff) remove(e *bpf.VerdictEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, putOffKey{decision: e.DecisionKey(), cookie: e.Cookie})
}

// await keeps an ask about p whose facts are not there yet; false: they are. The
// time that there is begins with the ask, however long the process runs already.
func (b *Backend) await(p *event.Process, e *bpf.VerdictEvent) bool {
	b.mu.Lock()
	waits := b.current != nil && b.current.waits(p)
	// What nobody decides by the deadline gets the default: better an answer by
	// what is known, which can only be stricter.
	until := time.Now().Add(b.desired.Hold.Deadline * 3 / 4)
	b.mu.Unlock()
	if waits && !b.putOff.put(e, until) {
		b.stats.lost.Add(1)
	}
	return waits
}

// resume puts asks that were put off before the deciders again, as soon as the
// facts have come, or when there is no more time.
func (b *Backend) resume(ctx context.Context) {
	tick := time.NewTicker(factsEvery)
	defer tick.Stop()
	for {
		waiting := b.putOff.list()
		if len(waiting) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-b.putOff.wake:
				continue
			}
		}
		for i := range waiting {
			b.resumeOne(&waiting[i])
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *Backend) resumeOne(l *later) {
	due := !time.Now().Before(l.until)
	if p := b.processOf(processID(l.event.Id)); !due && p != nil && b.lacks(p) {
		return
	}
	b.putOff.remove(&l.event)
	b.queueAsk(ask{event: l.event, due: due})
}

// lacks reports whether facts of p that rules read are being looked for.
func (b *Backend) lacks(p *event.Process) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current != nil && b.current.waits(p)
}

// latest is what is known of a process by now, when facts of what was told of it
// were missing. They are told of too, in time: that may be a second later.
func (b *Backend) latest(id event.ProcessID, p *event.Process) *event.Process {
	if b.deps.Lookup == nil || !b.lacks(p) {
		return p
	}
	fresh := b.deps.Lookup(id)
	if fresh == nil || b.lacks(fresh) {
		return p
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learnLocked()
	s := b.live[id]
	if s == nil || b.current == nil || !b.current.waits(s.process) { // told meanwhile, of more perhaps
		return fresh
	}
	s.process = fresh
	b.problem("classify a process", b.publishLocked(b.current, s))
	return fresh
}
