package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"snitch/bpf"
	"snitch/monitor/dns"
	"snitch/monitor/event"
	"snitch/monitor/process"
)

// Defaults of Config.
const (
	DefaultDrainInterval  = time.Second
	DefaultMaxConnections = 65536
)

// Intervals of the monitor's own upkeep.
const (
	pollAtMost   = 200 * time.Millisecond // bounds how late a stop is noticed
	upkeepEvery  = 10 * time.Second
	rescanEvery  = 10 * time.Second // sockets that the hooks cannot see (AF_XDP, rings)
	settleAtStop = time.Second
)

// Config is what the monitor can be told. Zero values mean the defaults.
type Config struct {
	DrainInterval  time.Duration // how often the kernel's counters are drained
	MaxConnections int           // rows held in memory
	EveryExec      bool          // publish every exec, also of programs that never connect
}

// Deps are the rooms that the monitor joins. It owns none of them: the caller
// closes them after Run has returned.
type Deps struct {
	Kernel    *bpf.Kernel
	Processes *process.Table
	Names     *dns.Names
	Losses    *Losses
	// Subjects is told of processes while Follow asks for it; nil: nobody is.
	Subjects Subjects
	Sink     func(Batch) // called from Run's goroutine, each turn at least once, also with an empty batch; must not block
	Log      *slog.Logger
}

// Monitor joins the kernel's records and counters. Run may be called once;
// Stats is safe for concurrent use.
type Monitor struct {
	cfg   Config
	deps  Deps
	clock clock
	conns *connections
	execs []pendingExec
	flows []event.Flow
	lost  []event.Loss // of known processes, for the next batch
	wake  bool         // the kernel asked for an early drain
	again atomic.Bool  // hand over every open row, changed or not

	refused denials
	behind  behind
	follow  atomic.Bool // processes are told of, and refused attempts are coming

	mu    sync.Mutex
	stats Stats
	now   Stats // being counted by the turn under way
}

// New makes a monitor.
func New(cfg Config, deps Deps) *Monitor {
	if cfg.DrainInterval <= 0 {
		cfg.DrainInterval = DefaultDrainInterval
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = DefaultMaxConnections
	}
	return &Monitor{cfg: cfg, deps: deps, conns: newConnections(cfg.MaxConnections)}
}

// Run takes stock of what is there, calls ready, and then turns until ctx
// ends. It publishes a last batch before it returns.
func (m *Monitor) Run(ctx context.Context, ready func()) error {
	m.clock.measure()
	if err := m.takeStock(); err != nil {
		return err
	}
	if err := m.turn(); err != nil {
		return err
	}
	ready()
	defer m.behind.close()
	nextTurn := time.Now().Add(m.cfg.DrainInterval)
	nextUpkeep := time.Now().Add(upkeepEvery)
	nextRescan := time.Now().Add(rescanEvery)
	for ctx.Err() == nil {
		if err := m.wait(time.Until(nextTurn)); err != nil {
			return err
		}
		now := time.Now()
		if now.Before(nextTurn) && !m.wake {
			continue
		}
		if now.After(nextRescan) {
			nextRescan = now.Add(rescanEvery)
			if err := m.deps.Kernel.Sockets(); err != nil {
				return fmt.Errorf("look for sockets: %w", err)
			}
		}
		if err := m.turn(); err != nil {
			return err
		}
		nextTurn = now.Add(m.cfg.DrainInterval)
		if now.After(nextUpkeep) {
			nextUpkeep = now.Add(upkeepEvery)
			m.upkeep()
		}
	}
	return m.finish()
}

// takeStock learns the processes and sockets that are older than the monitor.
// The programs are attached already, so nothing falls between.
func (m *Monitor) takeStock() error {
	err := m.deps.Kernel.Processes(func(rec *bpf.ExecRecord) {
		m.deps.Processes.Snapshot(snapshot(rec))
	})
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	if err := m.deps.Kernel.Sockets(); err != nil {
		return fmt.Errorf("list sockets: %w", err)
	}
	return nil
}

// poll reads the records that the kernel has ready, waiting at most timeout
// for the first.
func (m *Monitor) poll(timeout time.Duration) error {
	if err := m.deps.Kernel.Poll(max(0, timeout), m.record); err != nil {
		return fmt.Errorf("read kernel records: %w", err)
	}
	return nil
}

// turn drains the counters, reads the records that explain them, and
// publishes what changed.
func (m *Monitor) turn() error {
	began := time.Now()
	now, boot := m.clock.measure()
	m.wake = false
	m.flows = m.flows[:0]
	err := m.deps.Kernel.Drain(func(f *bpf.Flow) { m.flows = append(m.flows, flow(f)) })
	if err != nil {
		return fmt.Errorf("drain flows: %w", err)
	}
	if err := m.poll(0); err != nil {
		return err
	}
	for i := range m.flows {
		m.flow(&m.flows[i])
	}
	m.conns.telling = m.follow.Load()
	m.deny()
	if err := m.drainLosses(now); err != nil {
		return err
	}
	m.factsArrived()
	if m.again.Swap(false) {
		m.conns.touchAll()
	}
	m.publish(now)
	m.deps.Processes.Expire(boot)
	m.count(began)
	return nil
}

// flow merges one delta into its row.
func (m *Monitor) flow(f *event.Flow) {
	row, fresh := m.conns.add(f, &m.clock)
	if row == nil {
		return
	}
	m.now.Flows++
	m.now.Sent += f.Sent
	m.now.Received += f.Received
	if !fresh {
		return
	}
	m.now.Connections++
	row.Process = m.deps.Processes.Lookup(f.ID)
	row.Cgroup = row.Process.Cgroup
	m.Complete(&row.Connection)
}

// factsArrived gives rows the digests and names that came since.
func (m *Monitor) factsArrived() {
	for _, p := range m.deps.Processes.Changed() {
		m.conns.processChanged(p)
		m.tell(p.ID)
	}
	for _, cookie := range m.deps.Names.Changed() {
		m.conns.named(cookie, func(row *connection) { m.Complete(&row.Connection) })
	}
}

// publish hands over what changed, if anything did.
func (m *Monitor) publish(now time.Time) {
	if m.conns.overflow > 0 {
		m.deps.Losses.Count(event.LossConnTable, m.conns.overflow)
		m.conns.overflow = 0
	}
	b := Batch{Time: now, Execs: m.takeExecs(now), Losses: append(m.lost, m.deps.Losses.take(now)...)}
	m.lost = nil
	m.deps.Sink(b)
	m.conns.take(now, func(rows []event.Connection) {
		for i := range rows {
			if c := &rows[i]; c.Closed {
				m.deps.Names.Closed(c.Cookie, c.Proto, c.Remote.Addr())
			}
		}
		m.deps.Sink(Batch{Time: now, Connections: rows})
	})
}

// Republish makes the next turn hand over every open connection: policy has
// changed. Safe for concurrent use.
func (m *Monitor) Republish() { m.again.Store(true) }

// upkeep ends idle rows and drops old names.
func (m *Monitor) upkeep() {
	now := time.Now()
	m.conns.sweep(now)
	m.conns.compact()
	if cap(m.flows) > compactFrom {
		m.flows = nil
	}
	m.deps.Names.Expire(now)
}

// finish waits shortly for digests that are being read, so that the last rows
// are whole, and publishes them.
func (m *Monitor) finish() error {
	deadline := time.Now().Add(settleAtStop)
	for {
		if err := m.turn(); err != nil {
			return err
		}
		if time.Now().After(deadline) || !m.conns.unsettled() && len(m.execs) == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Stats is a copy of the counters as of the last turn.
func (m *Monitor) Stats() Stats {
	m.mu.Lock()
	s := m.stats
	m.mu.Unlock()
	s.Losses = m.deps.Losses.Totals()
	return s
}

func (m *Monitor) count(began time.Time) {
	m.now.Open = len(m.conns.rows)
	m.now.Processes = m.deps.Processes.Len()
	m.now.LastTurn = time.Since(began)
	m.now.LastFlows = len(m.flows)
	m.now.Turns++
	m.mu.Lock()
	m.stats = m.now
	m.mu.Unlock()
}
