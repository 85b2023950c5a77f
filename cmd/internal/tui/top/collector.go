package top

import (
	"sync"
	"time"

	"snitch/cmd/internal/control"
	"snitch/monitor/event"
)

// Bounds of what is held.
const (
	// MaxConnections is how many connections are held; then those that ended
	// longest ago go, and if there are none, new ones are counted only.
	MaxConnections = 100_000
	samples        = 32               // of traffic, one a tick
	linger         = 15 * time.Second // how long what ended is shown
	smooth         = 3                // samples that a rate is over: the daemon tells once a second or so
)

// Tick is how often traffic is sampled.
const Tick = time.Second

// connKey tells connections apart: the feed and the record share no number.
type connKey struct {
	opened       int64
	pid          uint32
	proto        string
	laddr, raddr string
	lport, rport uint16
}

func keyOf(r *event.Record) connKey {
	return connKey{opened: r.Time.UnixNano(), pid: r.PID, proto: r.Proto, laddr: r.LAddr, raddr: r.RAddr, lport: r.LPort, rport: r.RPort}
}

// conn is one connection. Its record is replaced, never changed.
type conn struct {
	rec    *event.Record
	closed bool
	ended  time.Time // when closed was told
	last   uint64    // tick that last moved bytes
	rates  [samples]flow
}

// flow is what moved in one tick.
type flow struct{ sent, received uint64 }

func (f flow) total() uint64 { return f.sent + f.received }

// State is how the feed does.
type State struct {
	Problem     string // why nothing arrives; "" when it does
	Connections int    // held
	Open        int
	Lost        uint64 // messages that this reader was too slow for
	Full        uint64 // connections that found no room
	Sent        uint64 // bytes a second, of all
	Received    uint64
	History     []uint64 // bytes a second, the last at the end
}

// Collector holds the connections of the feed. It is safe for concurrent use.
type Collector struct {
	mu      sync.Mutex // guards what follows
	conns   map[connKey]*conn
	ended   int // of conns, those that are closed
	tick    uint64
	total   [samples]flow
	problem string
	lost    uint64
	full    uint64
}

// NewCollector makes an empty one.
func NewCollector() *Collector {
	return &Collector{conns: map[connKey]*conn{}, tick: samples, problem: "connecting to the daemon"}
}

// Apply takes in a message of the feed.
func (c *Collector) Apply(m *control.Message, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.Type {
	case control.TypeConnection:
		if m.Record != nil {
			c.update(m.Record, m.Closed, now)
		}
	case control.TypeLost:
		c.lost += m.Lost
	}
}

// Seed takes in a connection that the record has as open. What the feed tells
// of it later replaces it.
func (c *Collector) Seed(rec *event.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := keyOf(rec)
	if _, known := c.conns[key]; !known && len(c.conns) < MaxConnections {
		c.conns[key] = &conn{rec: rec}
	}
}

// SetProblem says why nothing arrives, "" that it does.
func (c *Collector) SetProblem(problem string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problem = problem
}

// Forget lets go of all connections: the daemon that told of them ended.
func (c *Collector) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.conns)
	c.ended = 0
}

func (c *Collector) update(rec *event.Record, closed bool, now time.Time) {
	key := keyOf(rec)
	old, known := c.conns[key]
	if !known {
		if len(c.conns) >= MaxConnections && !c.evict() {
			c.full++
			return
		}
		old = &conn{rec: &event.Record{}}
		if now.Sub(rec.Time) > 2*Tick {
			old.rec = rec // what it moved before is not of this second
		}
		c.conns[key] = old
	}
	moved := flow{grown(old.rec.Sent, rec.Sent), grown(old.rec.Received, rec.Received)}
	if moved.total() > 0 {
		old.at(c.tick).add(moved)
		c.total[c.tick%samples].add(moved)
	}
	old.rec = rec
	if closed && !old.closed {
		old.closed, old.ended = true, now
		c.ended++
	}
}

func grown(from, to uint64) uint64 {
	if to < from {
		return 0
	}
	return to - from
}

// open reports whether two ends talk, or try to.
func (x *conn) open() bool {
	return !x.closed && (x.rec.Result == "established" || x.rec.Result == "pending")
}

func (f *flow) add(g flow) { f.sent += g.sent; f.received += g.received }

func (f *flow) sub(g flow) { f.sent -= g.sent; f.received -= g.received }

// at is the sample of a tick. Samples of ticks in which nothing moved are
// cleared here, not at each tick of each connection.
func (x *conn) at(tick uint64) *flow {
	for t := max(x.last+1, tick-min(tick, samples)+1); t <= tick; t++ {
		x.rates[t%samples] = flow{}
	}
	x.last = max(x.last, tick)
	return &x.rates[tick%samples]
}

// sample is what moved in one of the last ticks.
func (x *conn) sample(tick uint64) flow {
	if tick > x.last || tick+samples <= x.last {
		return flow{}
	}
	return x.rates[tick%samples]
}

// evict drops what ended, and reports whether there is room then.
func (c *Collector) evict() bool {
	if c.ended == 0 {
		return false // without a look at each, for each new one
	}
	c.drop(func(*conn) bool { return true })
	return true
}

// drop lets go of those that ended for which f says so.
func (c *Collector) drop(f func(*conn) bool) {
	for key, x := range c.conns {
		if x.closed && f(x) {
			delete(c.conns, key)
			c.ended--
		}
	}
}

// Advance begins the next sample and lets go of what ended a while ago.
func (c *Collector) Advance(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tick++
	c.total[c.tick%samples] = flow{}
	if c.ended > 0 {
		c.drop(func(x *conn) bool { return now.Sub(x.ended) > linger })
	}
}

// State says how the feed does.
func (c *Collector) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Problem: c.problem, Connections: len(c.conns), Lost: c.lost, Full: c.full, History: make([]uint64, 0, samples)}
	for _, x := range c.conns {
		if x.open() {
			s.Open++
		}
	}
	var over flow
	for t := c.tick - samples + 1; t < c.tick; t++ {
		over.add(c.total[t%samples])
		if t > c.tick-samples+smooth {
			over.sub(c.total[(t-smooth)%samples])
		}
		s.History = append(s.History, over.total()/smooth)
	}
	s.Sent, s.Received = over.sent/smooth, over.received/smooth
	return s
}
