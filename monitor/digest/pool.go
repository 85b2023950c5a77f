package digest

import (
	"slices"
	"sync"
	"time"
)

// lane says where a task waits. Fast tasks touch files that answer promptly.
// Slow ones wait with those of the same file system: key is its device, so
// that a server that does not answer holds its own clients only.
type lane struct {
	fast bool
	key  uint64
}

var (
	fastLane = lane{fast: true}
	noLane   = lane{key: ^uint64(0)} // where no task runs
)

func slowLane(key uint64) lane { return lane{key: key} }

type task struct {
	lane lane
	run  func()
}

// pool runs tasks on goroutines that end when there is nothing to do. A fast
// task that takes longer than patience gives its place to the next one and goes
// on as a straggler: a blocked system call cannot be ended, only left alone.
type pool struct {
	fastMax  int // fast tasks at a time
	slowMax  int // slow tasks at a time, and stragglers
	perKey   int // slow tasks of one file system at a time
	queueMax int // waiting tasks of each lane
	patience time.Duration

	mu         sync.Mutex
	fast       []task
	slow       []task
	fastActive int
	slowActive int
	byKey      map[uint64]int
	stragglers int
	closed     bool
	idle       sync.WaitGroup
}

func newPool(fastMax, slowMax, queueMax int, patience time.Duration) *pool {
	return &pool{fastMax: fastMax, slowMax: slowMax, perKey: 2, queueMax: queueMax, patience: patience, byKey: make(map[uint64]int)}
}

// add queues a task; false when the lane is full or the pool is closed.
func (p *pool) add(l lane, run func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	queue := &p.slow
	if l.fast {
		queue = &p.fast
	}
	if p.closed || len(*queue) >= p.queueMax {
		return false
	}
	*queue = append(*queue, task{lane: l, run: run})
	p.schedule()
	return true
}

// schedule starts what may start. Callers hold mu.
func (p *pool) schedule() {
	for p.fastActive < p.fastMax && len(p.fast) > 0 {
		t := p.fast[0]
		p.fast = slices.Delete(p.fast, 0, 1)
		p.fastActive++
		p.idle.Go(func() { p.runFast(t) })
	}
	for i := 0; p.slowActive < p.slowMax && i < len(p.slow); {
		t := p.slow[i]
		if p.byKey[t.lane.key] >= p.perKey {
			i++
			continue
		}
		p.slow = slices.Delete(p.slow, i, i+1)
		p.slowActive++
		p.byKey[t.lane.key]++
		p.idle.Go(func() { p.runSlow(t) })
	}
}

func (p *pool) runFast(t task) {
	ended, straggles := false, false // guarded by mu
	watch := time.AfterFunc(p.patience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if ended || p.stragglers >= p.slowMax {
			return
		}
		straggles = true
		p.stragglers++
		p.fastActive--
		p.schedule()
	})
	t.run()
	watch.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	ended = true
	if straggles {
		p.stragglers--
	} else {
		p.fastActive--
	}
	p.schedule()
}

func (p *pool) runSlow(t task) {
	t.run()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slowActive--
	if p.byKey[t.lane.key]--; p.byKey[t.lane.key] == 0 {
		delete(p.byKey, t.lane.key)
	}
	p.schedule()
}

// busy is the number of tasks that run.
func (p *pool) busy() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fastActive + p.slowActive + p.stragglers
}

// shut drops what waits and takes nothing more.
func (p *pool) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.fast, p.slow = nil, nil
}

// wait waits for what runs: for ever, if that sits in a system call of a dead
// file system. The pool is shut.
func (p *pool) wait() { p.idle.Wait() }

// waitFor waits for the group, but not longer than that. The helper goroutine
// stays as long as what it waits for.
func waitFor(group *sync.WaitGroup, within time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}
