package store

import (
	"testing"

	"pgregory.net/rapid"

	"snitch/monitor/event"
)

// TestQueueConserves drives a queue with any mix of snapshots, commits that
// succeed, fail or whose outcome comes later, and lost files: at the end every
// byte was either written once or counted as lost once.
func TestQueueConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(rapid.IntRange(1, 6).Draw(t, "max"))
		m := model{file: map[uint64]totals{}, seen: map[uint64]totals{}, over: map[uint64]bool{}}
		var flying *work
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				id := rapid.Uint64Range(1, 8).Draw(t, "id")
				if m.over[id] {
					return
				}
				n := m.seen[id]
				n.sent += rapid.Uint64Range(0, 3).Draw(t, "sent")
				n.received += rapid.Uint64Range(0, 3).Draw(t, "received")
				m.seen[id] = n
				m.over[id] = rapid.IntRange(0, 3).Draw(t, "closed") == 0
				q.push(event.Connection{ID: id, Sent: n.sent, Received: n.received, Closed: m.over[id]}, rapid.Int64Range(0, 2).Draw(t, "minute"))
				m.count(q.shed())
			},
			"take": func(t *rapid.T) {
				if flying == nil {
					flying = q.take(rapid.IntRange(1, 4).Draw(t, "n"))
				}
			},
			"done": func(*rapid.T) {
				if flying != nil {
					m.write(flying)
					q.done(flying)
					flying = nil
				}
			},
			"fail": func(*rapid.T) {
				if flying != nil {
					q.putBack(flying)
					m.count(q.shed())
					flying = nil
				}
			},
			"": func(t *rapid.T) {
				if len(q.rows) > q.max {
					t.Fatalf("%d rows wait, %d may", len(q.rows), q.max)
				}
				for id, n := range q.latest {
					if i := n - q.first; i < 0 || i >= int64(len(q.rows)) || q.rows[i].conn.ID != id {
						t.Fatalf("latest row of %d is not where it should be", id)
					}
				}
			},
		})
		if flying != nil {
			q.putBack(flying)
		}
		if rapid.Bool().Draw(t, "the end is written") {
			w := q.take(1 << 30)
			m.write(w)
			q.done(w)
		}
		m.count(q.abandon())
		m.check(t)
	})
}

// model is what a queue must do, in the simplest form.
type model struct {
	file map[uint64]totals // what the file holds of each connection
	seen map[uint64]totals // what was pushed of it
	over map[uint64]bool
	lost totals
}

func (m *model) count(d dropped) {
	m.lost = totals{m.lost.sent + d.sent, m.lost.received + d.received}
}

// write does what the writer does with work.
func (m *model) write(w *work) {
	w.next = map[uint64]written{}
	for _, row := range w.rows {
		c := row.conn
		before, ok := w.next[c.ID]
		if !ok {
			before = w.known[c.ID]
		}
		now := written{totals: totals{max(c.Sent, before.sent), max(c.Received, before.received)}, closed: c.Closed || before.closed}
		delta := since(now.totals, before.totals)
		have := m.file[c.ID]
		m.file[c.ID] = totals{have.sent + delta.sent, have.received + delta.received}
		w.next[c.ID] = now
	}
}

func (m *model) check(t *rapid.T) {
	var want, got totals
	for id := range m.seen {
		want = totals{want.sent + m.seen[id].sent, want.received + m.seen[id].received}
		got = totals{got.sent + m.file[id].sent, got.received + m.file[id].received}
	}
	got = totals{got.sent + m.lost.sent, got.received + m.lost.received}
	if got != want {
		t.Fatalf("written and lost = %+v, pushed %+v", got, want)
	}
}
