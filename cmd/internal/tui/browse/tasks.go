package browse

import (
	"context"
	"sync"

	tea "charm.land/bubbletea/v2"
)

// tasks runs questions beside the interface and joins them at the end, which
// bubbletea does not.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed, and the group against a start after the wait
	closed bool
	group  sync.WaitGroup
}

func newTasks(ctx context.Context) *tasks {
	t := &tasks{}
	t.ctx, t.cancel = context.WithCancel(ctx)
	return t
}

// run makes a command of f.
func (t *tasks) run(ctx context.Context, f func(ctx context.Context) tea.Msg) tea.Cmd {
	return func() tea.Msg {
		t.mu.Lock()
		if t.closed {
			t.mu.Unlock()
			return nil
		}
		t.group.Add(1)
		t.mu.Unlock()
		defer t.group.Done()
		return f(ctx)
	}
}

// close cancels all that runs and waits for it.
func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	t.group.Wait()
}

// question is the one that a pane waits for: a new one ends the one before.
type question struct {
	seq    uint64
	cancel context.CancelFunc
	busy   bool
	err    error
}

// begin returns the context and the number of a new question.
func (q *question) begin(t *tasks) (context.Context, uint64) {
	if q.cancel != nil {
		q.cancel()
	}
	var ctx context.Context
	ctx, q.cancel = context.WithCancel(t.ctx)
	q.seq++
	q.busy = true
	return ctx, q.seq
}

// ended takes an answer, and reports whether it is the one that is waited for.
func (q *question) ended(seq uint64, err error) bool {
	if seq != q.seq {
		return false
	}
	q.cancel()
	q.busy, q.err = false, err
	return true
}
