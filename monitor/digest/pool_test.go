package digest

import (
	"sync"
	"testing"
	"time"
)

// TestPoolIsolatesFileSystems: stuck tasks of some file systems stop neither
// those of others nor the fast ones.
func TestPoolIsolatesFileSystems(t *testing.T) {
	p := newPool(1, 5, 100, 10*time.Millisecond)
	release := make(chan struct{})
	var stuck sync.WaitGroup
	for key := range uint64(2) {
		for range 3 {
			stuck.Add(1)
			p.add(slowLane(key), func() { defer stuck.Done(); <-release })
		}
	}
	ran := make(chan string, 2)
	p.add(slowLane(99), func() { ran <- "other server" })
	wait(t, ran)
	if n := p.busy(); n != 4 {
		t.Errorf("%d tasks run, want 2 of each stuck server", n)
	}
	stuck.Add(1)
	p.add(fastLane, func() { defer stuck.Done(); <-release })
	p.add(fastLane, func() { ran <- "fast" })
	wait(t, ran)
	close(release)
	stuck.Wait()
	p.shut()
	p.wait()
	if n := p.busy(); n != 0 {
		t.Errorf("%d tasks run after close", n)
	}
	if p.fastActive != 0 || p.slowActive != 0 || p.stragglers != 0 || len(p.byKey) != 0 {
		t.Errorf("places are not given back: %d fast, %d slow, %d stragglers, %v", p.fastActive, p.slowActive, p.stragglers, p.byKey)
	}
	if p.add(fastLane, func() {}) {
		t.Error("a closed pool takes tasks")
	}
}

func TestPoolBounds(t *testing.T) {
	p := newPool(1, 1, 2, time.Minute)
	release := make(chan struct{})
	accepted := 0
	for range 10 {
		if p.add(fastLane, func() { <-release }) {
			accepted++
		}
	}
	if accepted != 3 {
		t.Errorf("%d tasks accepted, want one that runs and two that wait", accepted)
	}
	close(release)
	p.shut()
	p.wait()
}

func wait(t *testing.T, ran <-chan string) {
	t.Helper()
	select {
	case <-ran:
	case <-time.After(5 * time.Second):
		t.Fatal("a task was kept waiting by a stuck one")
	}
}
