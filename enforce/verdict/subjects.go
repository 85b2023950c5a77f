package verdict

import (
	"errors"
	"fmt"
	"sync"

	"snitch/bpf"
	"snitch/monitor/event"
	"snitch/policy"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// inbox takes what is told of processes without ever blocking: only the latest
// of each is kept. Safe for concurrent use.
type inbox struct {
	mu   sync.Mutex
	news map[event.ProcessID]*event.Process // nil: gone
	wake chan struct{}                      // of capacity 1
}

func newInbox() *inbox {
	return &inbox{news: map[event.ProcessID]*event.Process{}, wake: make(chan struct{}, 1)}
}

func (i *inbox) put(id event.ProcessID, p *event.Process) {
	i.mu.Lock()
	i.news[id] = p
	i.mu.Unlock()
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *inbox) take() map[event.ProcessID]*event.Process {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.news) == 0 {
		return nil
	}
	news := i.news
	i.news = map[event.ProcessID]*event.Process{}
	return news
}

// subject is a live process and what the kernel has of it.
type subject struct {
	process *event.Process
	classes bpf.VerdictSubject
	changed uint64 // boot time when the class in use became another
}

// Process tells of a new image or of a new fact about one. It does not block.
func (b *Backend) Process(p *event.Process) { b.inbox.put(p.ID, p) }

// Gone tells that an image will not act any more.
func (b *Backend) Gone(id event.ProcessID) { b.inbox.put(id, nil) }

// learn takes the inbox into account.
func (b *Backend) learn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.learnLocked()
}

func (b *Backend) learnLocked() {
	for id, p := range b.inbox.take() {
		if p == nil {
			b.forgetLocked(id)
			continue
		}
		s := b.live[id]
		if s == nil {
			s = &subject{}
			b.live[id] = s
			if b.pids[id.PID] == nil {
				b.pids[id.PID] = map[event.ProcessID]struct{}{}
			}
			b.pids[id.PID][id] = struct{}{}
		}
		s.process = p
		if b.current != nil {
			b.problem("classify a process", b.publishLocked(b.current, s))
		}
	}
}

func (b *Backend) forgetLocked(id event.ProcessID) {
	delete(b.live, id)
	if delete(b.pids[id.PID], id); len(b.pids[id.PID]) == 0 {
		delete(b.pids, id.PID)
	}
	if b.kernel != nil {
		b.problem("forget a process", b.kernel.DeleteSubject(verdictID(id)))
	}
}

// publishLocked gives a subject its classes in a generation. What does not fit is
// of no class, which asks; so is who is not known well enough yet, unless the
// kernel has a class: its exec was held until it was known, or it was forked.
func (b *Backend) publishLocked(g *generation, s *subject) error {
	var classes bpf.VerdictSubject
	var err error
	slot := g.number & 1
	if g.waits(s.process) {
		there, known, err := b.kernel.Subject(verdictID(s.process.ID))
		if known && there.Generation[slot] == g.number && there.Class[slot] != 0 {
			s.classes = there
			return nil
		}
		if err != nil {
			return err
		}
	} else {
		classes, err = b.classesOf(g, s.process)
	}
	other := s.classes.Generation[slot] != g.number || s.classes.Class[slot] != classes.Class[slot]
	s.classes.Class[slot], s.classes.Child[slot], s.classes.Generation[slot] = classes.Class[slot], classes.Child[slot], g.number
	put := b.kernel.PutSubject(verdictID(s.process.ID), s.classes)
	switch {
	case errors.Is(put, bpf.ErrVerdictTableFull):
		return fmt.Errorf("%w: no room for more processes", table.ErrFull)
	case put != nil:
		return put
	}
	if other {
		s.changed = uint64(bootNow())
	}
	return err
}

// classesOf classifies a process and what it will fork, in the slot of g.
func (b *Backend) classesOf(g *generation, p *event.Process) (classes bpf.VerdictSubject, err error) {
	own, err := g.class(factsOf(p))
	child := *p
	child.Parent = p
	born, errBorn := g.class(factsOf(&child))
	if err == nil {
		err = errBorn
	}
	slot := g.number & 1
	classes.Class[slot], classes.Child[slot], classes.Generation[slot] = uint32(own), uint32(born), g.number
	return classes, err
}

func factsOf(p *event.Process) *rule.Facts {
	f := policy.Facts(&event.Connection{Process: p, UID: p.UID, User: p.User, Cgroup: p.Cgroup, Direction: event.Out})
	return &f
}

func verdictID(id event.ProcessID) bpf.VerdictID {
	return bpf.VerdictID{Start: id.Start, Pid: id.PID, Exec: id.Exec}
}

func processID(id bpf.VerdictID) event.ProcessID {
	return event.ProcessID{PID: id.Pid, Start: id.Start, Exec: id.Exec}
}
