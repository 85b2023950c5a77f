package export

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"snitch/monitor/event"
)

// Output takes items. One goroutine uses it.
type Output interface {
	// Write takes items in order and returns how many it took. With ErrLater the
	// others are offered again after a pause, with any other error they are lost.
	Write(ctx context.Context, items []Item) (taken int, err error)
	Close() error
}

// ErrLater says that an output may take later what it did not take now.
var ErrLater = errors.New("the output is away")

// Pauses after ErrLater; each is twice the last.
const (
	firstPause = time.Second
	longPause  = 30 * time.Second
)

// Wants says which items an output is for.
type Wants struct {
	Connections, Alerts, Programs bool
}

// queued bounds the items that wait for one output.
const queued = 16384

// Exporter hands items to outputs, each behind a queue of its own. Publish
// belongs to one goroutine, Alerts may be called by any.
type Exporter struct {
	user    func(uid uint32) string
	loss    func(cause event.LossCause, n uint64)
	log     *slog.Logger
	outputs []*output
	changes *changes
	wants   Wants // of any output
}

// Deps is what an Exporter needs.
type Deps struct {
	User func(uid uint32) string
	Loss func(cause event.LossCause, n uint64) // counts what an output did not take
	Log  *slog.Logger
}

// output is one Output with its queue.
type output struct {
	name   string
	wants  Wants
	out    Output
	wake   chan struct{}
	failed bool // the last Write; of the goroutine of Run

	written, lost atomic.Uint64

	mu    sync.Mutex // guards what follows
	items []Item
	last  string // the last error, "" when the last Write went well
}

// Stats is the state of one output.
type Stats struct {
	Name    string
	Written uint64
	Lost    uint64
	Waiting int
	Error   string // of the last write, "" when it went well
}

// New makes an exporter without outputs.
func New(deps Deps) *Exporter {
	return &Exporter{user: deps.User, loss: deps.Loss, log: deps.Log, changes: newChanges()}
}

// Add adds an output, which Run closes. All are added before Run and Publish.
func (e *Exporter) Add(name string, wants Wants, out Output) {
	e.outputs = append(e.outputs, &output{name: name, wants: wants, out: out, wake: make(chan struct{}, 1)})
	e.wants.Connections = e.wants.Connections || wants.Connections
	e.wants.Alerts = e.wants.Alerts || wants.Alerts
	e.wants.Programs = e.wants.Programs || wants.Programs
}

// Publish takes snapshots and execs as they are recorded; late are connections
// that came before, with a decision that came later. It never waits.
func (e *Exporter) Publish(at time.Time, connections, late []event.Connection, execs []event.ExecSeen) {
	if !e.wants.Connections && !e.wants.Programs {
		return
	}
	var lines, programs []Item
	line := func(what string, c *event.Connection) {
		if what != "" && e.wants.Connections {
			lines = append(lines, Item{Time: at, Connection: &Change{Event: what, ID: c.ID, Record: event.NewRecord(c, e.user)}})
		}
	}
	for i := range connections {
		what, news := e.changes.of(&connections[i])
		line(what, &connections[i])
		if p := programOf(&connections[i], news); p != nil {
			programs = append(programs, Item{Time: at, Program: p})
		}
	}
	for i := range late {
		what, _ := e.changes.of(&late[i])
		line(what, &late[i])
	}
	for i := range execs {
		programs = append(programs, Item{Time: at, Program: newProgram(execs[i].Time, execs[i].Process, []string{"exec"})})
	}
	for _, o := range e.outputs {
		if o.wants.Connections {
			e.push(o, lines)
		}
		if o.wants.Programs {
			e.push(o, programs)
		}
	}
}

// Alerts takes alerts that became new. It never waits.
func (e *Exporter) Alerts(raised []event.Alert) {
	if !e.wants.Alerts {
		return
	}
	items := make([]Item, len(raised))
	now := time.Now()
	for i := range raised {
		a := raised[i]
		items[i] = Item{Time: now, Alert: &a}
	}
	for _, o := range e.outputs {
		if o.wants.Alerts {
			e.push(o, items)
		}
	}
}

// push queues what there is room for and counts the rest.
func (e *Exporter) push(o *output, items []Item) {
	if len(items) == 0 {
		return
	}
	o.mu.Lock()
	n := min(len(items), queued-len(o.items))
	o.items = append(o.items, items[:n]...)
	o.mu.Unlock()
	e.lose(o, len(items)-n)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (e *Exporter) lose(o *output, n int) {
	if n > 0 {
		o.lost.Add(uint64(n))
		e.loss(event.LossExport, uint64(n))
	}
}

// Run writes until ctx ends, then what still waits, for a moment, and closes the
// outputs.
func (e *Exporter) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, o := range e.outputs {
		all.Go(func() { e.write(ctx, o) })
	}
	all.Wait()
	return nil
}

// lastWrite bounds the end: a server that does not answer does not hold it.
const lastWrite = time.Second

func (e *Exporter) write(ctx context.Context, o *output) {
	var pause time.Duration
	again := time.NewTimer(longPause)
	defer again.Stop()
	again.Stop()
	for ctx.Err() == nil {
		wake := o.wake
		if pause > 0 {
			wake = nil
		}
		select {
		case <-ctx.Done():
			continue
		case <-wake:
		case <-again.C:
		}
		if e.turn(ctx, o) {
			pause = 0
			continue
		}
		pause = min(max(2*pause, firstPause), longPause)
		again.Reset(pause)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
	defer cancel()
	if !e.turn(end, o) {
		e.lose(o, len(o.take()))
	}
	if err := o.out.Close(); err != nil {
		e.log.Warn("an output did not close", "output", o.name, "error", err)
	}
}

func (o *output) take() []Item {
	o.mu.Lock()
	defer o.mu.Unlock()
	items := o.items
	o.items = nil
	return items
}

// turn writes what waits; false is an output that is away.
func (e *Exporter) turn(ctx context.Context, o *output) bool {
	items := o.take()
	if len(items) == 0 {
		return true
	}
	n, err := o.out.Write(ctx, items)
	o.written.Add(uint64(n))
	later := errors.Is(err, ErrLater)
	o.mu.Lock()
	o.last = ""
	if err != nil {
		o.last = err.Error()
	}
	lost := len(items) - n
	if later {
		waiting := append(items[n:len(items):len(items)], o.items...)
		lost = max(0, len(waiting)-queued)
		o.items = waiting[:len(waiting)-lost]
	}
	o.mu.Unlock()
	e.lose(o, lost)
	e.report(o, err)
	return !later
}

// report logs a failure once, when it begins and when it ends.
func (e *Exporter) report(o *output, err error) {
	switch {
	case err != nil && !o.failed:
		e.log.Warn("an output does not work: what it does not take is counted", "output", o.name, "error", err)
	case err == nil && o.failed:
		e.log.Info("an output works again", "output", o.name)
	}
	o.failed = err != nil
}

// Stats are the states of all outputs. It is safe for concurrent use.
func (e *Exporter) Stats() []Stats {
	out := make([]Stats, 0, len(e.outputs))
	for _, o := range e.outputs {
		o.mu.Lock()
		out = append(out, Stats{Name: o.name, Written: o.written.Load(), Lost: o.lost.Load(), Waiting: len(o.items), Error: o.last})
		o.mu.Unlock()
	}
	return out
}
