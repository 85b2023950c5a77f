package process

import (
	"os"
	"sync/atomic"
	"testing"

	"snitch/monitor/event"
)

// lateJudge says of every file what it was told last.
type lateJudge struct{ word atomic.Uint32 }

func (j *lateJudge) Reputation(event.Digest) event.Reputation {
	return event.Reputation(j.word.Load())
}

// TestJudgeAnswersLater checks that no process waits for what is said of its file,
// and that those that run it are told of it, with the processes below them.
func TestJudgeAnswersLater(t *testing.T) {
	b := newBench(t)
	judge := &lateJudge{}
	b.Table.judge = judge
	own := observed(t, os.Getpid(), 1)
	b.Snapshot(event.Snapshot{Exec: own})
	p := b.settled(own.ID)
	if p.Executable.Reputation != event.ReputationUnasked || p.Waits() {
		t.Fatalf("before the answer: %+v", p.Executable)
	}
	b.Changed() // what the digest changed
	other := p.Executable.SHA256
	other[0]++
	judge.word.Store(uint32(event.ReputationMalicious))
	b.Judged(other)
	if len(b.Changed()) != 0 {
		t.Error("told of an answer about another file")
	}
	b.Judged(p.Executable.SHA256)
	changed := b.Changed()
	if len(changed) != 1 || changed[0].ID != p.ID || changed[0].Executable.Reputation != event.ReputationMalicious {
		t.Errorf("after the answer: %+v", changed)
	}
	if p.Executable.Reputation != event.ReputationUnasked {
		t.Error("what was handed out changed")
	}
	if len(b.Changed()) != 0 {
		t.Error("told twice")
	}
}
