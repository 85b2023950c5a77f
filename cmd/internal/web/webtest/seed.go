package webtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"path"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/policy"
	"snitch/policy/rule"
	"snitch/policy/table"
)

// SeedOptions say how much there is.
type SeedOptions struct {
	Connections int
	Days        float64
	Until       time.Time
}

// Seed writes a database as a desktop and server of two people would have it,
// with programs and domains among them whose names are attacks. The same
// options make the same connections.
func Seed(ctx context.Context, dir string, o SeedOptions) (err error) {
	w, err := newSeeder(o)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Config{Dir: dir, Group: -1, Now: func() time.Time { return w.clock }, Run: store.Run{Version: "1.0", Tier: "exact", Boot: "seeded"}})
	if err != nil {
		return fmt.Errorf("open seeded store: %w", err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended, s.Close())
	}()
	if err := s.PutRuleSet(w.set.Revision, []store.RuleFile{{Path: "policy.yaml", Data: []byte(Rules)}}); err != nil {
		return fmt.Errorf("keep rules: %w", err)
	}
	return w.write(ctx, s)
}

type seeder struct {
	o       SeedOptions
	random  *rand.Rand
	clock   time.Time
	set     *rule.Set
	table   *table.Table
	reads   rule.Reads
	progs   []program
	procs   []*event.Process
	peers   []peer
	weights float64
	counts  map[string]*event.RuleCount
	batch   store.Batch
}

func newSeeder(o SeedOptions) (*seeder, error) {
	loaded, err := rule.Parse("policy.yaml", []byte(Rules))
	if err != nil {
		return nil, fmt.Errorf("read seeded rules: %w", err)
	}
	w := &seeder{o: o, random: rand.New(rand.NewPCG(1, 2)), clock: o.Until.Add(-time.Duration(o.Days * 24 * float64(time.Hour))), set: loaded.Set,
		table: table.Compile(loaded.Set), reads: loaded.Set.Reads(), progs: programs(), peers: peers(), counts: map[string]*event.RuleCount{}}
	for i, p := range w.progs {
		q := &event.Process{ID: event.ProcessID{PID: uint32(400 + i*37), Exec: 1, Start: uint64(i + 1)}, Name: path.Base(p.exe), Args: []string{p.exe, p.args}, UID: p.uid, User: p.user,
			Executable: event.Executable{Path: p.exe, Kind: event.ExecutableFile, SHA256: sha256.Sum256([]byte(p.exe)), Package: p.pkg}}
		q.Name = q.Name[:min(len(q.Name), 15)]
		if p.parent >= 0 {
			q.Parent = w.procs[p.parent]
		}
		w.procs = append(w.procs, q)
		w.weights += p.weight
	}
	return w, nil
}

// times are when connections begin: more by day than by night.
func (w *seeder) times() []time.Time {
	span := w.o.Until.Sub(w.clock)
	out := make([]time.Time, 0, w.o.Connections)
	for len(out) < w.o.Connections {
		at := w.clock.Add(time.Duration(w.random.Float64() * float64(span)))
		h := float64(at.UTC().Hour()) + float64(at.Minute())/60
		if w.random.Float64() < 0.15+0.85*math.Exp(-(h-14)*(h-14)/18) {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

func (w *seeder) write(ctx context.Context, s *store.Store) error {
	times := w.times()
	for i, at := range times {
		if at.Sub(w.clock) > 10*time.Minute || len(w.batch.Connections) >= 5000 {
			w.clock = at
			if err := w.flush(ctx, s); err != nil {
				return err
			}
		}
		w.connection(uint64(i+1), at)
	}
	w.clock = w.o.Until
	w.batch.Alerts = append(w.batch.Alerts, event.NewAlert(event.AlertError, "hash.queue", event.ActionNone, "the queue of files to hash is full", w.clock.Add(-time.Hour), nil))
	w.batch.Losses = append(w.batch.Losses, event.Loss{Time: w.clock.Add(-time.Hour), Cause: event.LossFlowMapFull, Count: 17})
	if err := w.flush(ctx, s); err != nil {
		return err
	}
	return s.Maintain(ctx)
}

func (w *seeder) flush(ctx context.Context, s *store.Store) error {
	w.batch.Time = w.clock
	for _, c := range w.counts {
		w.batch.Rules = append(w.batch.Rules, *c)
	}
	clear(w.counts)
	s.Append(w.batch)
	w.batch = store.Batch{}
	if err := s.Flush(ctx); err != nil {
		return fmt.Errorf("write seeded connections: %w", err)
	}
	return nil
}

// pick chooses a program by weight, and one of its peers, the first ones often.
func (w *seeder) pick() (int, *peer) {
	n := w.random.Float64() * w.weights
	for i, p := range w.progs {
		if n -= p.weight; n < 0 && len(p.peers) > 0 {
			return i, &w.peers[p.peers[int(math.Abs(w.random.NormFloat64())*float64(len(p.peers))/2.2)%len(p.peers)]]
		}
	}
	return 2, &w.peers[0]
}

func (w *seeder) connection(id uint64, at time.Time) {
	i, e := w.pick()
	p, addr := &w.progs[i], netip.MustParseAddr(e.addr)
	c := event.Connection{ID: id, Process: w.procs[i], Opened: at, Last: at.Add(time.Duration(w.random.ExpFloat64() * 8e9)), Direction: event.Out,
		Family: event.AFInet, Proto: event.ProtoTCP, Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(32768+w.random.IntN(28000))),
		Remote: netip.AddrPortFrom(addr, e.port), Country: e.country, Received: uint64(p.size * w.random.ExpFloat64()), Sent: uint64(p.size * 0.07 * w.random.ExpFloat64()),
		Packets: uint64(4 + w.random.IntN(60)), Result: event.ResultClosed, Closed: true, UID: p.uid, User: p.user,
		Cgroup: event.Cgroup{Path: "/system.slice/" + path.Base(p.exe) + ".service", Unit: path.Base(p.exe) + ".service"}}
	if addr.Is6() {
		c.Family = event.AFInet6
	}
	if e.port == 53 || e.port == 123 {
		c.Proto = event.ProtoUDP
	}
	if e.name != "" {
		c.Name = event.Name{Domain: e.name, Source: event.NameDNS, Trusted: true, At: at.Add(-time.Second)}
		c.Names = []event.Name{c.Name}
	}
	if id%97 == 0 {
		c.Result, c.Sent, c.Received = event.ResultRefused, 0, 0
	}
	w.decide(&c)
	w.batch.Connections = append(w.batch.Connections, c)
}

// decide judges by the seeded rules: mostly in audit mode, at times for real.
func (w *seeder) decide(c *event.Connection) {
	f := policy.Facts(c)
	said := w.set.Combine(w.table.Votes(&f), c.Opened)
	d := event.Decision{Action: said.Action, Would: said.Action, Mode: event.ModeAudit, Rule: said.Rule, Revision: w.set.Revision, Reason: said.Reason, At: c.Opened, Input: w.reads.Input(&f)}
	if said.Action == event.ActionDeny {
		d.Action, d.Capped = event.ActionAlert, true
		if c.ID%3 == 0 {
			d.Action, d.Mode, d.Capped = event.ActionDeny, event.ModeEnforce, false
			c.Result, c.Sent, c.Received = event.ResultDenied, 0, 0
		}
	}
	for _, m := range said.Matches {
		d.Matches = append(d.Matches, m.ID)
		w.count(m.ID, said.Rule, &d, c.Opened)
	}
	c.Decision = d
	if said.Action != event.ActionAllow {
		w.batch.Alerts = append(w.batch.Alerts, event.NewAlert(event.AlertRule, said.Rule, said.Action, said.Reason, c.Opened, c))
	}
}

func (w *seeder) count(id, winner string, d *event.Decision, at time.Time) {
	k := w.counts[id]
	if k == nil {
		k = &event.RuleCount{Rule: id}
		w.counts[id] = k
	}
	k.Hits, k.Last = k.Hits+1, at
	if id != winner {
		return
	}
	k.Wins++
	switch {
	case d.Action == event.ActionDeny:
		k.Denied++
	case d.Would == event.ActionDeny:
		k.WouldDeny++
	case d.Would == event.ActionAlert:
		k.WouldAlert++
	}
}
