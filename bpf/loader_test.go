package bpf

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"snitch/bpf/features"
)

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Close leaves no descriptor and no program.
func TestCloseLeavesNothing(t *testing.T) {
	needTier(t, features.TierReference)
	enter(t)
	// the first load opens what the runtime and the library keep
	for range 2 {
		before := descriptors(t)
		k, err := Load(Config{Tier: features.TierReference})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(k.Mechanisms()), len(hooksOf(features.TierReference))-1; got != want { // open sockets are found by one of two ways
			t.Errorf("%d mechanisms, want %d", got, want)
		}
		var ids []ebpf.ProgramID
		for name, p := range k.coll.Programs {
			info, err := p.Info()
			if err != nil {
				t.Fatal(err)
			}
			id, ok := info.ID()
			if !ok {
				t.Fatalf("%s has no id", name)
			}
			ids = append(ids, id)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		if after := descriptors(t); after > before+2 { // the poller of Go's runtime
			t.Errorf("%d descriptors after Close, want %d", after, before)
		}
		waitGone(t, ids)
	}
}

// waitGone waits for the kernel to free programs, which it does in its own time.
func waitGone(t *testing.T, ids []ebpf.ProgramID) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for _, id := range ids {
		for {
			p, err := ebpf.NewProgramFromID(id)
			if errors.Is(err, os.ErrNotExist) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			p.Close()
			if time.Now().After(deadline) {
				t.Fatalf("program %d is still there", id)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// A load that fails says which hook and where.
func TestLoadNamesTheFailure(t *testing.T) {
	needTier(t, features.TierReference)
	before := descriptors(t)
	_, err := Load(Config{Tier: features.TierReference, Cgroup: "/nonexistent"})
	if err == nil || !strings.Contains(err.Error(), "attach sock_release") || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("error %v, want the hook and the directory", err)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors after the failure, want %d", after, before)
	}
}

func TestPoll(t *testing.T) {
	k := load(t, Config{})
	done := make(chan error)
	go func() {
		for {
			if err := k.Poll(time.Hour, func([]byte) {}); err != nil {
				done <- err
				return
			}
		}
	}()
	time.Sleep(20 * time.Millisecond)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("Poll returned %v, want os.ErrClosed", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Close did not wake Poll")
	}
}
