package digest

import (
	"time"
)

// parkAtMost bounds the wait for a reader that is stuck.
const parkAtMost = time.Second

// parking holds requests whose process is gone until every fanotify reader has
// looked at all events that happened before the request: the execution was
// queued before the exec event was, so a sighting is there by then or never.
// So do requests whose file may be taken for another one.
// Hasher.mu guards it.
type parking struct {
	sequence uint64 // tickets given out
	gates    uint8  // readers that run, one bit each
	parked   []parked
}

type parked struct {
	waiter  *waiter
	step    func(*waiter, lane) // what goes on, in lane
	lane    lane
	ticket  uint64
	missing uint8 // gates that have not settled yet
	timer   *time.Timer
}

// park waits for the readers before it takes step, or goes on at once when
// there is none.
func (h *Hasher) park(w *waiter, l lane, step func(*waiter, lane)) {
	h.mu.Lock()
	w.settled, w.late = true, h.parking.gates != 1<<len(h.groups)-1
	if h.parking.gates == 0 {
		h.mu.Unlock()
		step(w, l)
		return
	}
	h.parking.sequence++
	h.parking.parked = append(h.parking.parked, parked{
		waiter: w, step: step, lane: l, ticket: h.parking.sequence, missing: h.parking.gates,
		timer: time.AfterFunc(parkAtMost, func() { h.unpark(w) }),
	})
	h.mu.Unlock()
	for _, g := range h.groups {
		g.kick()
	}
}

// ticket is what a reader takes before it looks at its queue.
func (h *Hasher) ticket() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.parking.sequence
}

// settle says that reader i has handled every event before ticket.
func (h *Hasher) settle(i int, ticket uint64) {
	h.release(func(p *parked) bool {
		if p.ticket <= ticket {
			p.missing &^= 1 << i
		}
		return p.missing == 0
	})
}

func (h *Hasher) unpark(w *waiter) {
	h.release(func(p *parked) bool {
		if p.waiter == w {
			w.late = true
		}
		return p.waiter == w
	})
}

func (h *Hasher) openGate(i int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parking.gates |= 1 << i
}

func (h *Hasher) shutGate(i int) {
	h.mu.Lock()
	h.parking.gates &^= 1 << i
	h.mu.Unlock()
	h.release(func(p *parked) bool {
		p.missing &^= 1 << i
		p.waiter.late = true
		return p.missing == 0
	})
}

// release lets those go on that ready chooses.
func (h *Hasher) release(ready func(*parked) bool) {
	h.mu.Lock()
	var free []parked
	kept := h.parking.parked[:0]
	for _, p := range h.parking.parked {
		if ready(&p) {
			p.timer.Stop()
			free = append(free, p)
		} else {
			kept = append(kept, p)
		}
	}
	clear(h.parking.parked[len(kept):])
	h.parking.parked = kept
	h.mu.Unlock()
	for _, p := range free {
		h.again(p.waiter, p.lane, p.step)
	}
}
