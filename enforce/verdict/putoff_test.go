package verdict

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf"
	"snitch/bpf/bpftest"
	"snitch/monitor/event"
	"snitch/policy/rule"
)

// reading is a program whose digest is being read since long before it connects:
// Lookup knows it after so many questions, and nobody is told.
type reading struct {
	*program
	id     event.ProcessID
	digest event.Digest
	after  int32 // questions
	asked  atomic.Int32
}

func (r *reading) image(known bool) *event.Process {
	p := &event.Process{ID: r.id, Started: time.Now().Add(-time.Hour),
		Executable: event.Executable{Path: r.path, Kind: event.ExecutableFile, Reason: event.HashPending}}
	if known {
		p.Executable.SHA256, p.Executable.Reason = r.digest, event.HashKnown
	}
	return p
}

func (r *reading) lookup(event.ProcessID) *event.Process {
	return r.image(r.asked.Add(1) > r.after)
}

// What rules read and nobody has read yet is waited for: an allowed program
// whose digest comes late never fails, one that is denied is told, and at last
// it is decided by what is known.
func TestDigestsInTime(t *testing.T) {
	l := newLab(t)
	l.serve(8080)
	allowed, other := event.Digest{1}, event.Digest{2}
	const never = 1 << 30
	programs := []*reading{{digest: allowed, after: 20}, {digest: other, after: 20}, {digest: allowed, after: never}}
	for _, r := range programs {
		r.program = l.start()
		l.Backend.mu.Lock()
		r.id = l.byPID(uint32(r.program.id)).ID
		l.Backend.mu.Unlock()
	}
	l.deps.Lookup = func(id event.ProcessID) *event.Process {
		for _, r := range programs {
			if r.id == id {
				return r.lookup(id)
			}
		}
		return nil
	}
	for _, r := range programs {
		l.Process(r.image(false))
	}
	l.set([]rule.Confine{{ID: "locked"}}, rule.Rule{ID: "by-hash", Action: event.ActionAllow, Match: rule.Match{Process: &rule.ProcessMatch{SHA256: []event.Digest{allowed}}}})
	for i, want := range []unix.Errno{0, unix.ECONNABORTED, unix.ECONNABORTED} {
		errno, took := programs[i].do("tcp %s:8080", bpftest.ServerV4)
		if errno != want {
			t.Errorf("program %d: %v after %s, want %v", i, errno, took, want)
		}
		t.Logf("program %d: %v after %s", i, errno, took)
	}
	l.denied("locked", 2)
	if waiting := l.putOff.list(); len(waiting) > 0 {
		t.Errorf("asks are still put off: %v", waiting)
	}
}

// The class that was announced at the exec stays until all is known again: the
// first record of an exec says less than who held it knew.
func TestClassStays(t *testing.T) {
	l := newLab(t)
	r := &reading{program: l.start(), digest: event.Digest{1}}
	l.Backend.mu.Lock()
	r.id = l.byPID(uint32(r.program.id)).ID
	l.Backend.mu.Unlock()
	l.set([]rule.Confine{{ID: "locked"}}, rule.Rule{ID: "by-hash", Action: event.ActionAllow, Match: rule.Match{Process: &rule.ProcessMatch{SHA256: []event.Digest{r.digest}}}})
	classes := func(p *event.Process) bpf.VerdictSubject {
		t.Helper()
		l.Process(p)
		l.learn()
		s, known, err := l.kernel.Subject(verdictID(r.id))
		if !known || err != nil {
			t.Fatalf("the kernel does not know it: %v", err)
		}
		return s
	}
	slot := l.kernel.Generation() & 1
	known := classes(r.image(true))
	if known.Class[slot] == 0 {
		t.Error("it has no class")
	}
	if got := classes(r.image(false)); got != known {
		t.Errorf("less is known: class %v, want %v", got, known)
	}
	r.digest[0]++
	if got := classes(r.image(true)); got == known || got.Class[slot] == 0 {
		t.Errorf("another digest: class %v, it was %v", got, known)
	}
}
