package export

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"snitch/monitor/event"
)

// collector is an Output that keeps what it takes, and can be away or broken.
type collector struct {
	mu     sync.Mutex
	events []string
	err    error
	closed bool
}

func (c *collector) Write(_ context.Context, items []Item) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	for _, i := range items {
		switch {
		case i.Connection != nil:
			c.events = append(c.events, fmt.Sprintf("%d %s", i.Connection.ID, i.Connection.Event))
		case i.Program != nil:
			c.events = append(c.events, i.Program.Exe+" "+strings.Join(i.Program.What, ","))
		case i.Alert != nil:
			c.events = append(c.events, "alert "+i.Alert.Rule)
		}
	}
	return len(items), nil
}

func (c *collector) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *collector) become(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *collector) has() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.events)
}

// running is an Exporter with one output.
func running(t *testing.T, out Output, wants Wants) (e *Exporter, lost *atomic.Uint64, stop func()) {
	lost = new(atomic.Uint64)
	e = New(Deps{User: func(uint32) string { return "" }, Loss: func(_ event.LossCause, n uint64) { lost.Add(n) }, Log: slog.New(slog.DiscardHandler)})
	e.Add("test", wants, out)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return e, lost, stop
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waiting); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

// TestChanges: a connection has a line when it is opened, when more than its
// totals changes, and when it is closed; what is new about its program is said
// once.
func TestChanges(t *testing.T) {
	c := &collector{}
	e, lost, stop := running(t, c, Wants{Connections: true, Alerts: true, Programs: true})
	step := func(id uint64, change func(*event.Connection)) {
		conn := sample(id)
		conn.Novelty = []string{"program", "listener"}
		change(&conn)
		e.Publish(opened, []event.Connection{conn}, nil, nil)
	}
	step(1, func(*event.Connection) {})
	step(1, func(c *event.Connection) { c.Sent = 99 })
	step(1, func(c *event.Connection) { c.Novelty = []string{"program", "listener", "hash"} })
	step(1, func(c *event.Connection) {
		c.Novelty, c.Decision.Action = []string{"program", "listener", "hash"}, event.ActionAlert
	})
	step(1, func(c *event.Connection) { c.Novelty, c.Closed = []string{"program", "listener", "hash"}, true })
	step(2, func(c *event.Connection) { c.Closed, c.Novelty = true, []string{"parent"} })
	late := sample(2)
	late.Closed, late.Novelty = true, []string{"parent"}
	e.Publish(opened, nil, []event.Connection{late}, []event.ExecSeen{{Time: opened, Process: late.Process}})
	e.Alerts([]event.Alert{{Rule: "r"}})
	stop()
	got := c.has()
	want := []string{"1 opened", "/usr/bin/curl program", "1 changed", "/usr/bin/curl hash", "1 changed", "1 closed", "2 closed", "/usr/bin/curl parent", "2 closed", "/usr/bin/curl exec", "alert r"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if lost.Load() != 0 || !c.closed || len(e.changes.told) != 0 {
		t.Errorf("lost %d, closed %v, remembered %v", lost.Load(), c.closed, e.changes.told)
	}
}

// TestLater: what an output that is away did not take it gets when it is back, in
// order; what no longer fits is counted.
func TestLater(t *testing.T) {
	c := &collector{err: fmt.Errorf("%w: gone", ErrLater)}
	e, lost, stop := running(t, c, Wants{Alerts: true})
	e.Alerts([]event.Alert{{Rule: "0"}})
	until(t, "it is said to be away", func() bool { return strings.Contains(e.Stats()[0].Error, "gone") })
	for i := 1; i < queued+5; i++ {
		e.Alerts([]event.Alert{{Rule: fmt.Sprint(i)}})
	}
	until(t, "what does not fit is counted", func() bool { return lost.Load() == 5 })
	c.become(nil)
	until(t, "it has all the others", func() bool { return len(c.has()) == queued })
	for i, got := range c.has() {
		if want := fmt.Sprintf("alert %d", i); got != want {
			t.Fatalf("%d: %s", i, got)
		}
	}
	if s := e.Stats()[0]; s.Written != queued || s.Lost != 5 || s.Error != "" {
		t.Errorf("%+v", s)
	}
	c.become(errors.New("broken"))
	e.Alerts([]event.Alert{{Rule: "x"}})
	until(t, "what a broken output did not take is counted", func() bool { return lost.Load() == 6 })
	c.become(ErrLater)
	e.Alerts([]event.Alert{{Rule: "y"}})
	stop()
	if lost.Load() != 7 {
		t.Errorf("lost %d: the last one is not counted", lost.Load())
	}
}

// TestTextLog: the lines of a file are those of the items.
func TestTextLog(t *testing.T) {
	d, path := openDir(t)
	out := NewTextLog(NewFile(d, "c.jsonl", nil, Rotation{Size: 1 << 20, Keep: 1}), JSONLines)
	var items []Item
	for range 500 {
		items = append(items, *connectionItem(), Item{})
	}
	if n, err := out.Write(t.Context(), items); n != len(items) || err != nil {
		t.Fatal(n, err)
	}
	must(t, out.Close())
	all := content(t, filepath.Join(path, "c.jsonl.1")) + content(t, filepath.Join(path, "c.jsonl"))
	if n := strings.Count(all, `{"event":"opened","id":5,"time":"2026-07-01T08:00:00.123456789Z"`); n != 500 || strings.Count(all, "\n") != 500 {
		t.Errorf("%d lines", n)
	}
}
