package query

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sync"

	"snitch/monitor/event"
	"snitch/monitor/store/schema"
)

// interned keeps the small interned tables in memory, so that sums over rows
// need no join. The writer only ever adds rows, under numbers that it never
// uses again; those that it removes as orphans stay here, where nothing refers
// to them. A number that is not there means nothing: 0.
type interned struct {
	mu          sync.RWMutex // held for reading while sums are made, for writing while new rows are read
	processes   map[int64]processFacts
	contexts    map[int64]contextFacts
	decisions   map[int64]decisionFacts
	executables map[int64]executableFacts
	scripts     map[int64]scriptFacts
	cgroups     map[int64]cgroupFacts
	last        [6]int64         // largest number of each table
	accounts    map[uint32]int64 // name that was recorded last, by uid
	emptyText   int64            // number of "" in table text
	words       []string         // strings of the small tables; 0 is ""
	wordOf      map[string]int64
}

type processFacts struct{ parent, executable, name, cmdline, script int64 }

type contextFacts struct {
	uid, netns, cgroup int64
	user, host         int64 // words
}

type decisionFacts struct {
	action, would, mode event.Action
	rule, revision      int64 // text
}

// The rest are words.
type (
	executableFacts struct{ path, view, pkg, sha int64 }
	scriptFacts     struct{ path, sha int64 }
	cgroupFacts     struct{ path, unit, container int64 }
)

func newInterned() *interned {
	return &interned{processes: map[int64]processFacts{}, contexts: map[int64]contextFacts{}, decisions: map[int64]decisionFacts{},
		executables: map[int64]executableFacts{}, scripts: map[int64]scriptFacts{}, cgroups: map[int64]cgroupFacts{},
		accounts: map[uint32]int64{}, words: []string{""}, wordOf: map[string]int64{"": 0}}
}

// word is the number of a string.
func (t *interned) word(v driver.Value) int64 {
	s, _ := v.(string)
	n, ok := t.wordOf[s]
	if !ok {
		n = int64(len(t.words))
		t.words = append(t.words, s)
		t.wordOf[s] = n
	}
	return n
}

func (t *interned) sha(v driver.Value) int64 {
	b, _ := v.([]byte)
	return t.word(digest(b))
}

// interned brings the tables up to the moment of the transaction and calls f,
// which may use them until it returns.
func (r *reader) interned(ctx context.Context, f func(*interned) error) error {
	t := r.names.tables
	t.mu.Lock()
	err := r.refresh(ctx, t)
	t.mu.Unlock()
	if err != nil {
		return fmt.Errorf("read interned tables: %w", err)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return f(t)
}

// refresh reads the rows that are new. Those of a table come before those that
// refer to them.
func (r *reader) refresh(ctx context.Context, t *interned) error {
	err := r.raw(ctx, "SELECT id FROM text WHERE hash = ? AND value = ''", []any{schema.TextHash("")}, func(v []driver.Value) { t.emptyText = integer(v[0]) })
	if err != nil {
		return err
	}
	for i, table := range []struct {
		text string
		add  func(id int64, v []driver.Value)
	}{
		{"SELECT id, path, view, package, sha256 FROM executable WHERE id > ? ORDER BY id", func(id int64, v []driver.Value) {
			t.executables[id] = executableFacts{t.word(v[1]), t.word(v[2]), t.word(v[3]), t.sha(v[4])}
		}},
		{"SELECT id, path, sha256 FROM script WHERE id > ? ORDER BY id", func(id int64, v []driver.Value) {
			t.scripts[id] = scriptFacts{t.word(v[1]), t.sha(v[2])}
		}},
		{"SELECT id, path, unit, container FROM cgroup WHERE id > ? ORDER BY id", func(id int64, v []driver.Value) {
			t.cgroups[id] = cgroupFacts{t.word(v[1]), t.word(v[2]), t.word(v[3])}
		}},
		{"SELECT id, parent, executable, name, cmdline, script FROM process WHERE id > ? ORDER BY id", func(id int64, v []driver.Value) {
			t.processes[id] = processFacts{integer(v[1]), integer(v[2]), t.text(v[3]), t.text(v[4]), integer(v[5])}
		}},
		{"SELECT x.id, x.uid, x.netns, x.cgroup, ifnull(u.value, ''), ifnull(h.value, '') FROM context x LEFT JOIN text u ON u.id = x.user LEFT JOIN text h ON h.id = x.host WHERE x.id > ? ORDER BY x.id", func(id int64, v []driver.Value) {
			uid, user := uint32(integer(v[1])), t.word(v[4])
			if user == 0 {
				user = t.word(r.users(uid))
			} else {
				t.accounts[uid] = user
			}
			t.contexts[id] = contextFacts{int64(uid), int64(uint32(integer(v[2]))), integer(v[3]), user, t.word(v[5])}
		}},
		{"SELECT id, action, would, mode, rule, revision FROM decision WHERE id > ? ORDER BY id", func(id int64, v []driver.Value) {
			t.decisions[id] = decisionFacts{event.Action(integer(v[1])), event.Action(integer(v[2])), event.Action(integer(v[3])), t.text(v[4]), t.text(v[5])}
		}},
	} {
		err := r.raw(ctx, table.text, []any{t.last[i]}, func(v []driver.Value) {
			t.last[i] = integer(v[0])
			table.add(t.last[i], v)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// text is the number of a text, 0 for the empty one.
func (t *interned) text(v driver.Value) int64 {
	if n := integer(v); n != t.emptyText {
		return n
	}
	return 0
}

// up is the n-th ancestor of a process, 0 when there is none. A chain is
// never longer than n, so damage cannot lead round in a circle.
func (t *interned) up(process int64, n int) int64 {
	for ; n > 0 && process != 0; n-- {
		process = t.processes[process].parent
	}
	return process
}

// denied and would tell what became of a connection with this decision.
func (t *interned) denied(decision int64) (denied, would uint64) {
	d := t.decisions[decision]
	switch {
	case d.action == event.ActionDeny:
		return 1, 0
	case d.would == event.ActionDeny:
		return 0, 1
	}
	return 0, 0
}
