package notify

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is how a Notifier behaves.
type Config struct {
	Quiet   Quiet
	Pace    Pace
	Logind  string        // logind's directory; "": /run/systemd
	Runtime string        // RuntimeDirs, if ""
	Look    time.Duration // between two looks for people, of whom some are there (default 10 s); six times as long while alerts wait for somebody
}

// Deps is what a Notifier needs.
type Deps struct {
	// Spawn starts a helper that runs Helper as uid and returns its connection,
	// which the Notifier closes. It is called from one goroutine for each uid.
	Spawn func(ctx context.Context, uid uint32) (net.Conn, error)
	// Answer says what a click asked for; nil: clicks have no answer. It is called
	// from one goroutine for each desk.
	Answer func(ctx context.Context, c Click) (Text, error)
	Log    *slog.Logger // nil: none
}

// Bounds of the Notifier.
const (
	maxQueue = 4096
	maxDesks = 64
	maxHeld  = 8 // people for whom alerts wait until they log in
	everyone = 0 // key of what waits for whoever comes first
)

// item is an alert or a trouble in the queue.
type item struct {
	alert   Alert
	trouble *Trouble
}

// Notifier brings alerts to the desktops. Its methods are safe for concurrent
// use.
type Notifier struct {
	cfg    Config
	deps   Deps
	log    *slog.Logger
	people presence
	seed   maphash.Seed
	queue  chan item
	count  counters

	// Of the goroutine of Run.
	desks   map[uint32]*seat
	held    map[uint32]*plan
	missed  uint64 // of count.dropped, told already
	looked  time.Time
	running sync.WaitGroup
}

// seat is a desk with its goroutine's end.
type seat struct {
	*desk
	leave context.CancelFunc
}

// counters are what Stats shows.
type counters struct {
	alerts, dropped, sent, shown, waiting, clicks, helpers, failed atomic.Uint64
	desks                                                          atomic.Int64
}

// Stats is what `snitch status` shows.
type Stats struct {
	Alerts  uint64 `json:"alerts"`         // given, troubles included
	Dropped uint64 `json:"dropped"`        // of them, not taken: the queue was full; they count in the next summary
	Desks   int64  `json:"desks"`          // people with a desktop that was notified
	Sent    uint64 `json:"sent"`           // toasts sent to helpers
	Shown   uint64 `json:"shown"`          // toasts that a server took
	Waiting uint64 `json:"waiting"`        // times that a toast had to wait for a server
	Clicks  uint64 `json:"clicks"`         // answered
	Helpers uint64 `json:"helpers"`        // started
	Failed  uint64 `json:"helpers_failed"` // ended by an error, or not started
}

// New makes a Notifier. Nothing happens before Run.
func New(cfg Config, deps Deps) *Notifier {
	if cfg.Logind == "" {
		cfg.Logind = "/run/systemd"
	}
	if cfg.Runtime == "" {
		cfg.Runtime = RuntimeDirs
	}
	if cfg.Look <= 0 {
		cfg.Look = 10 * time.Second
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Notifier{cfg: cfg, deps: deps, log: deps.Log, people: presence{cfg.Logind, cfg.Runtime}, seed: maphash.MakeSeed(),
		queue: make(chan item, maxQueue), desks: map[uint32]*seat{}, held: map[uint32]*plan{}}
}

// Alert takes an alert. It never waits; what does not fit is counted.
func (n *Notifier) Alert(a Alert) { n.put(item{alert: a}) }

// Trouble takes a trouble, likewise.
func (n *Notifier) Trouble(t Trouble) { n.put(item{trouble: &t}) }

func (n *Notifier) put(it item) {
	n.count.alerts.Add(1)
	select {
	case n.queue <- it:
	default:
		n.count.dropped.Add(1)
	}
}

// Stats tells what happened so far.
func (n *Notifier) Stats() Stats {
	c := &n.count
	return Stats{Alerts: c.alerts.Load(), Dropped: c.dropped.Load(), Desks: c.desks.Load(), Sent: c.sent.Load(), Shown: c.shown.Load(),
		Waiting: c.waiting.Load(), Clicks: c.clicks.Load(), Helpers: c.helpers.Load(), Failed: c.failed.Load()}
}

// Run works until ctx ends, and then ends the helpers.
func (n *Notifier) Run(ctx context.Context) error {
	defer n.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	look := time.NewTicker(n.cfg.Look)
	look.Stop()
	var every time.Duration
	for {
		if want := n.lookEvery(); want != every {
			if every = want; every > 0 {
				look.Reset(every)
			} else {
				look.Stop()
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			n.look(ctx)
		case it := <-n.queue:
			if time.Since(n.looked) >= n.cfg.Look {
				n.look(ctx)
			}
			n.route(it)
		}
	}
}

// lookEvery is how often to look for people: never, when nothing waits for
// anybody.
func (n *Notifier) lookEvery() time.Duration {
	switch {
	case len(n.desks) > 0:
		return n.cfg.Look
	case len(n.held) > 0:
		return 6 * n.cfg.Look
	}
	return 0
}

// look lets desks come and go with their people.
func (n *Notifier) look(ctx context.Context) {
	n.looked = time.Now()
	people, err := n.people.people()
	if err != nil {
		n.log.Warn("nobody can be notified", "error", err)
	}
	for uid, s := range n.desks {
		if !slices.Contains(people, uid) {
			s.leave()
			delete(n.desks, uid)
		}
	}
	came := false
	for _, uid := range people {
		if n.desks[uid] == nil && len(n.desks) < maxDesks {
			n.desks[uid] = n.seat(ctx, uid)
			came = true
		}
	}
	if came {
		delete(n.held, everyone) // each who came has it
	}
	n.count.desks.Store(int64(len(n.desks)))
}

// seat begins a desk with what was held for its person.
func (n *Notifier) seat(ctx context.Context, uid uint32) *seat {
	d := &desk{uid: uid, deps: n.deps, log: n.log, count: &n.count, woken: make(chan struct{}, 1), plan: n.newPlan()}
	for _, key := range []uint32{uid, everyone} {
		if p := n.held[key]; p != nil {
			d.plan.adopt(p, time.Now())
		}
	}
	delete(n.held, uid)
	ctx, leave := context.WithCancel(ctx)
	n.running.Go(func() { d.run(ctx) })
	return &seat{d, leave}
}

func (n *Notifier) newPlan() *plan { return newPlan(n.cfg.Pace, n.cfg.Quiet, n.seed) }

// route gives an item to those whom it concerns.
func (n *Notifier) route(it item) {
	dropped := n.count.dropped.Load()
	missed := dropped - n.missed
	n.missed = dropped
	if owner := it.alert.UID; it.trouble == nil && isPerson(owner) {
		if s := n.desks[owner]; s != nil {
			s.change(func(p *plan, now time.Time) { it.into(p, now, missed, false) })
		} else if p := n.hold(owner); p != nil {
			it.into(p, time.Now(), missed, true)
		}
		return
	}
	for _, s := range n.desks {
		s.change(func(p *plan, now time.Time) { it.into(p, now, missed, false) })
	}
	if len(n.desks) == 0 {
		it.into(n.hold(everyone), time.Now(), missed, true)
	}
}

// hold returns the plan of somebody who is not there, nil when there are too
// many.
func (n *Notifier) hold(uid uint32) *plan {
	p := n.held[uid]
	if p == nil && (uid == everyone || len(n.held) < maxHeld) {
		p = n.newPlan()
		n.held[uid] = p
	}
	return p
}

func (it item) into(p *plan, now time.Time, missed uint64, hold bool) {
	p.rest.addUnknown(missed, now)
	if it.trouble != nil {
		p.trouble(*it.trouble, now)
		return
	}
	p.add(it.alert, now, hold)
}
