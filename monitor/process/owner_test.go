package process

import (
	"os"
	"sync"
	"testing"

	"snitch/monitor/event"
)

// lateOwner does not know at first.
type lateOwner struct {
	mu    sync.Mutex
	fact  string
	asked []event.Executable
}

func (o *lateOwner) Lookup(x event.Executable) (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, x)
	return o.fact, o.fact != ""
}

// TestOwnerAnswersLater checks that a process waits for the package of its
// file, is told of it once it is there, and that only files of the host whose
// content is known are asked for.
func TestOwnerAnswersLater(t *testing.T) {
	b := newBench(t)
	owner := &lateOwner{}
	b.Table.owner = owner
	own := observed(t, os.Getpid(), 1)
	b.Snapshot(event.Snapshot{Exec: own})
	p := b.settled(own.ID)
	if !p.Executable.PackagePending || p.Executable.Package != "" || !p.Waits() {
		t.Fatalf("before the answer: %+v", p.Executable)
	}
	owner.mu.Lock()
	owner.fact = "modified:x"
	for _, x := range owner.asked {
		if x.SHA256.IsZero() || x.View != "" || x.Kind != event.ExecutableFile {
			t.Errorf("asked for %+v", x)
		}
	}
	owner.mu.Unlock()
	b.Owned(p.Executable.Path, p.Executable.SHA256)
	var found bool
	for _, c := range b.Changed() {
		if c.ID == p.ID {
			found = true
			if c.Executable.Package != "modified:x" || c.Executable.PackagePending {
				t.Errorf("after the answer: %+v", c.Executable)
			}
		}
	}
	if !found {
		t.Error("nobody was told")
	}
	if len(b.Changed()) != 0 {
		t.Error("told twice")
	}
}
