package record

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/geoip"
	"snitch/monitor/store"
	"snitch/monitor/store/schema"
)

// Config says what record is made.
type Config struct {
	Dir         string // state directory, without a database
	Connections int    // how many, questions for names counted
	Days        int    // over how many
	Seed        uint64
	End         time.Time // of the record; its zone is what the people live in
	Progress    func(done int)
}

// Bounds of what is made at once.
const (
	rowsAtOnce  = 8192
	mostInOne   = 50_000_000
	snapshots   = 8                // of a connection that stays
	runDays     = 6                // a run of the daemon lasts so many days
	between     = 90 * time.Second // runs
	listenPorts = 4
)

// Make makes a record. The same Config makes the same connections.
func Make(ctx context.Context, cfg Config) error {
	if cfg.Connections < 1 || cfg.Connections > mostInOne || cfg.Days < 1 || cfg.Days > 3660 {
		return fmt.Errorf("make record: %d connections over %d days are out of bounds", cfg.Connections, cfg.Days)
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, schema.FileName)); err == nil {
		return fmt.Errorf("make record: there is a database in %s already", cfg.Dir)
	}
	places, err := geoip.Open("", nil)
	if err != nil {
		return fmt.Errorf("make record: %w", err)
	}
	m := newMaker(cfg, places)
	if err := m.run(ctx); err != nil {
		return fmt.Errorf("make record: %w", err)
	}
	return nil
}

// maker is a record in the making.
type maker struct {
	cfg     Config
	begin   time.Time
	traffic *traffic
	rates   *rates
	plan    *plan
	store   *store.Store
	now     time.Time
	later   map[int64][]snapshot // by minute
	waiting int                  // rows that the store holds in memory
	done    int
	runs    int
}

// snapshot is a state of a connection that is told at its time.
type snapshot struct {
	l    *life
	part int // of snapshots; the last is the end
}

func newMaker(cfg Config, places *geoip.DB) *maker {
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x5a17c4))
	begin := cfg.End.Truncate(time.Minute).Add(-time.Duration(cfg.Days) * 24 * time.Hour)
	all := programs()
	r := newRates(all)
	m := &maker{cfg: cfg, begin: begin, rates: r, now: begin, later: map[int64][]snapshot{}, plan: newPlan(cfg.Connections, cfg.Days*24*60, begin, r)}
	m.traffic = &traffic{rng: rng, programs: all, rates: r, crowd: newCrowd(all, begin, cfg.Days), internet: newInternet(rng), places: places,
		rules: newRules(begin.Add(time.Duration(cfg.Days) * 24 * time.Hour * 3 / 4))}
	return m
}

func (m *maker) run(ctx context.Context) (err error) {
	if err := m.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.store.Close()) }()
	for minute := range m.cfg.Days * 24 * 60 {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := m.begin.Add(time.Duration(minute) * time.Minute)
		if minute > 0 && minute%(runDays*24*60) == 0 {
			if err := m.reboot(ctx); err != nil {
				return err
			}
		}
		if err := m.minute(ctx, at, minute/(24*60)); err != nil {
			return err
		}
		if minute%(24*60) == 24*60-1 {
			if err := errors.Join(m.flush(ctx), m.store.Maintain(ctx)); err != nil {
				return err
			}
			m.tell()
		}
	}
	m.endAll(m.now)
	m.tell()
	return nil
}

func (m *maker) tell() {
	if m.cfg.Progress != nil {
		m.cfg.Progress(m.done)
	}
}

// open begins a run of the daemon.
func (m *maker) open(ctx context.Context) (err error) {
	m.runs++
	m.store, err = store.Open(ctx, store.Config{Dir: m.cfg.Dir, Group: -1, MaxPending: 4 * rowsAtOnce, Now: func() time.Time { return m.now },
		Run: store.Run{Version: "0.9.0", Tier: "reference", Boot: fmt.Sprintf("5f0c2f6a-0000-4000-8000-%012d", (m.runs+1)/2)}})
	if err != nil {
		return err
	}
	if m.runs == 1 {
		if err := m.store.PutRuleSet("3f1c9a04", []store.RuleFile{{Path: "rules.yaml", Data: rulesFile}}); err != nil {
			return err
		}
	}
	m.traffic.next = 0
	m.listen()
	return nil
}

// reboot ends a run and begins another.
func (m *maker) reboot(ctx context.Context) error {
	m.endAll(m.now)
	if err := errors.Join(m.flush(ctx), m.store.Close()); err != nil {
		return err
	}
	m.now = m.now.Add(between)
	return m.open(ctx)
}

// listen tells of the programs that wait for connections.
func (m *maker) listen() {
	day := int(m.now.Sub(m.begin) / (24 * time.Hour))
	var rows []event.Connection
	for i := range m.traffic.programs {
		g := &m.traffic.programs[i]
		if g.in == 0 || len(rows) == listenPorts {
			continue
		}
		l := m.traffic.new(g, m.traffic.crowd.process(i, 0, day), m.now, event.Listen)
		l.Local, l.Result, l.Last = netip.AddrPortFrom(anyone, g.in), event.ResultListening, m.now
		l.Decision = *m.traffic.rules.decision("", event.ActionAllow, m.now)
		rows = append(rows, l.Connection)
	}
	m.append(rows, nil)
}

// minute makes what begins in a minute, and tells what is due.
func (m *maker) minute(ctx context.Context, at time.Time, day int) error {
	t := m.traffic
	n := m.plan.take(m.rates.total(hourOfWeek(at)), t.rng)
	m.now = at.Add(time.Minute)
	var execs []event.ExecSeen
	for made := 0; made < n; {
		lives := t.begin(at, day)
		lives = lives[:min(len(lives), n-made)]
		made += len(lives)
		for i := range lives {
			l := &lives[i]
			if p := l.Process; t.rng.IntN(400) == 0 {
				execs = append(execs, event.ExecSeen{Time: l.Opened, Process: p})
			}
			t.rules.decide(l)
			l.Novelty = m.store.Novelty(&l.Connection)
			m.schedule(l)
		}
	}
	m.done += n
	slices.SortFunc(execs, func(a, b event.ExecSeen) int { return a.Time.Compare(b.Time) })
	m.append(m.due(at.Unix()/60), execs)
	if m.waiting >= rowsAtOnce {
		return m.flush(ctx)
	}
	return nil
}

// schedule notes when the states of a connection are told: its end, and before
// that some on the way if it stays.
func (m *maker) schedule(l *life) {
	first, last := l.Opened.Unix()/60, l.end.Unix()/60
	parts := min(last-first, snapshots)
	for i := range parts {
		at := first + (last-first)*i/parts
		m.later[at] = append(m.later[at], snapshot{l, int(i)})
	}
	m.later[last] = append(m.later[last], snapshot{l, snapshots})
}

// due takes the states that are told in a minute.
func (m *maker) due(minute int64) []event.Connection {
	list := m.later[minute]
	delete(m.later, minute)
	out := make([]event.Connection, 0, len(list))
	for _, s := range list {
		out = append(out, s.state())
	}
	return out
}

// state is the connection as it was then.
func (s *snapshot) state() event.Connection {
	c := s.l.Connection
	if s.part == snapshots {
		c.Closed = c.Direction != event.Listen
		return c
	}
	share := uint64(s.part) + 1
	c.Sent, c.Received, c.Packets = c.Sent/(snapshots+1)*share, c.Received/(snapshots+1)*share, c.Packets/(snapshots+1)*share
	c.Last = c.Opened.Add(s.l.end.Sub(c.Opened) / (snapshots + 1) * time.Duration(share))
	if c.Proto == event.ProtoTCP {
		c.Result = event.ResultEstablished
	}
	return c
}

// endAll tells the end of every connection that is open, as when the machine
// is switched off.
func (m *maker) endAll(at time.Time) {
	minutes := make([]int64, 0, len(m.later))
	for minute := range m.later {
		minutes = append(minutes, minute)
	}
	slices.Sort(minutes)
	ended := map[uint64]bool{}
	var rows []event.Connection
	for _, minute := range minutes {
		for _, s := range m.later[minute] {
			c := s.state()
			if ended[c.ID] {
				continue
			}
			ended[c.ID] = true
			c.Closed, c.Result, c.Last = true, event.ResultAborted, at
			rows = append(rows, c)
		}
	}
	clear(m.later)
	m.append(rows, nil)
}

// append hands rows to the store, with what the rules did and, rarely, a loss.
func (m *maker) append(rows []event.Connection, execs []event.ExecSeen) {
	b := store.Batch{Time: m.now.Add(-time.Second), Connections: rows, Execs: execs}
	b.Alerts, b.Rules = m.traffic.rules.take()
	if rng := m.traffic.rng; rng.IntN(9000) == 0 {
		causes := []event.LossCause{event.LossHash, event.LossRingFull, event.LossPayloadFull, event.LossLive, event.LossFlowMapFull}
		b.Losses = []event.Loss{{Time: m.now, Cause: causes[rng.IntN(len(causes))], Count: 1 + rng.Uint64N(40)}}
	}
	if !b.Empty() {
		m.store.Append(b)
		m.waiting += len(rows) + len(execs)
	}
}

func (m *maker) flush(ctx context.Context) error {
	m.waiting = 0
	return m.store.Flush(ctx)
}
