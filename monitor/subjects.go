package monitor

import "snitch/monitor/event"

// Subjects is told which processes live, in the order of the kernel's records.
// Its methods must not block. They may be told of a process more than once.
type Subjects interface {
	// Process says that there is a new image, or a new fact about a known one:
	// the process table has it.
	Process(id event.ProcessID)
	// Gone says that an image will not act any more.
	Gone(id event.ProcessID)
}

// Follow says whether Subjects is told of processes from now on, and whether
// attempts may be Denied. Safe for concurrent use.
func (m *Monitor) Follow(on bool) { m.follow.Store(on) }

func (m *Monitor) tell(id event.ProcessID) {
	if m.follow.Load() && m.deps.Subjects != nil {
		m.deps.Subjects.Process(id)
	}
}

func (m *Monitor) gone(id event.ProcessID) {
	if m.follow.Load() && m.deps.Subjects != nil {
		m.deps.Subjects.Gone(id)
	}
}
