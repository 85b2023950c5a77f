package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"snitch/bpf"
	"snitch/bpf/features"
	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
	"snitch/cmd/internal/fleet"
	"snitch/enforce"
	"snitch/monitor"
	"snitch/monitor/digest"
	"snitch/monitor/dns"
	"snitch/monitor/event"
	"snitch/monitor/export"
	"snitch/monitor/geoip"
	"snitch/monitor/notify"
	"snitch/monitor/owner"
	"snitch/monitor/process"
	"snitch/monitor/store"
	"snitch/policy"
	"snitch/policy/reputation"
)

// daemon is the rooms, joined. Its fields are set by assemble and not changed.
type daemon struct {
	cfg        config.Config
	flag       event.Mode // --mode; invalid when it was not given
	state      *stateDir
	log        *slog.Logger
	started    time.Time
	users      *users
	losses     *monitor.Losses
	broker     *broker.Client
	reverse    *reverser // nil: off
	kernel     *bpf.Kernel
	features   features.Report // when it started
	hasher     *digest.Hasher
	owner      *owner.Owners
	table      *process.Table
	names      *dns.Names
	notifier   *notify.Notifier // nil: off
	store      *store.Store
	places     *geoip.DB
	engine     *policy.Engine
	causes     *causes
	manager    *policy.Manager
	fleet      *fleet.Source // nil: the rules are of this machine
	pulseOf    *alertPulse   // nil without a fleet
	enforce    *enforce.Controller
	denier     *denier
	subjects   *subjects
	filter     *export.Filter
	exporter   *export.Exporter
	noLogs     string // why none are written; set before run
	errors     *errorLog
	reputation *reputation.Service // nil: off
	hub        *control.Hub
	listener   net.Listener
	monitor    *monitor.Monitor
	closers    []func() error // in the order of opening

	outside
	pulse     pulse
	infers    bool          // the backend does not tell of single attempts
	denying   atomic.Bool   // the backend is to deny
	enforcing chan struct{} // closed once the mode that was left is back
	upgrade   atomic.Bool   // another snitch takes over: what denies stays
}

// assemble opens every room, in the order that the process model wants: the
// broker before all else; then the kernel side, whose probes start processes;
// then the seal; then fanotify. On an error it closes what it opened.
func assemble(ctx context.Context, cfg config.Config, flag event.Mode, state *stateDir, log *slog.Logger, errorLog *errorLog) (d *daemon, err error) {
	d = &daemon{errors: errorLog, cfg: cfg, flag: flag, state: state, log: log, started: time.Now(), users: &users{}, losses: monitor.NewLosses(), causes: newCauses(),
		enforcing: make(chan struct{}), filter: export.NewFilter(privacyOf(cfg.Log))}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
			d = nil
		}
	}()
	for _, open := range []func(context.Context) error{d.openBroker, d.openExport, d.openReputation, d.openNotifier, d.openKernel, d.seal, d.openRemote, d.openStore, d.openPlaces, d.openEngine, d.openEnforce, d.openPolicy, d.openFacts, d.openControl, d.openMetrics, d.endEnforce} {
		if err := open(ctx); err != nil {
			return d, err
		}
	}
	d.subjects = newSubjects(d.denier, d.table)
	if d.denier != nil {
		d.denier.subjects = d.subjects
	}
	d.monitor = monitor.New(monitor.Config{DrainInterval: cfg.DrainInterval, EveryExec: cfg.EveryExec},
		monitor.Deps{Kernel: d.kernel, Processes: d.table, Names: d.names, Losses: d.losses, Subjects: d.subjects, Sink: d.publish, Log: log.With("component", "monitor")})
	return d, nil
}

func (d *daemon) openBroker(context.Context) error {
	client, err := broker.Start(broker.Config{Command: []string{wordBroker}, User: helperUser(), Log: d.log, Stderr: os.Stderr})
	if err != nil {
		return err
	}
	d.broker = client
	d.closers = append(d.closers, client.Close)
	if d.cfg.ReverseDNS {
		d.reverse = &reverser{session: client.Session(broker.ReverseDNS)}
	}
	return nil
}

func (d *daemon) openKernel(ctx context.Context) error {
	kernel, err := loadKernel(d.cfg)
	if err != nil {
		return err
	}
	d.kernel = kernel
	d.features = features.Detect(ctx) // while processes may be started: what was not certain is asked again
	d.closers = append(d.closers, kernel.Close)
	return nil
}

// seal gives up every way to start a process, and the capabilities that only
// attaching needed. A kernel without seccomp filters
// leaves it at the rule that no code here does.
func (d *daemon) seal(context.Context) error {
	if err := broker.Seal(); err != nil {
		d.log.Warn("the core could not be sealed against starting processes", "error", err)
	}
	if err := broker.Confine(); err != nil {
		d.log.Warn("the core keeps capabilities that it does not need", "error", err)
	}
	return nil
}

func (d *daemon) openStore(ctx context.Context) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("read boot id: %w", err)
	}
	s, err := store.Open(ctx, store.Config{Dir: d.state.path, Interval: d.cfg.Interval, MaxAge: d.cfg.Retention.Age, MaxBytes: d.cfg.Retention.Size,
		Group: d.state.gid, Run: store.Run{Version: build().Version, Tier: d.kernel.Tier().String(), Boot: strings.TrimSpace(string(boot))},
		Log: d.log.With("component", "store"), Loss: d.losses.Note, Outbox: d.outbox, Alerted: d.alerted})
	switch {
	case errors.Is(err, store.ErrLocked), errors.Is(err, store.ErrNewer), errors.Is(err, store.ErrForeign):
		return usageError(err, "")
	case err != nil:
		return fmt.Errorf("open database: %w", err)
	}
	d.store = s
	d.closers = append(d.closers, s.Close)
	d.tellLogs()
	return nil
}

// openFacts opens what knows digests, processes and names.
func (d *daemon) openFacts(context.Context) (err error) {
	d.hasher, err = digest.New(digest.Config{Entries: d.cfg.Hash.Entries, MaxSize: d.cfg.Hash.MaxSize, Deadline: d.cfg.Hash.Deadline},
		digest.Deps{Log: d.log.With("component", "digest"), Loss: d.losses.Count})
	if err != nil {
		return fmt.Errorf("prepare hashing: %w", err)
	}
	d.closers = append(d.closers, d.hasher.Close)
	d.owner = owner.New(owner.Config{}, owner.Deps{Log: d.log.With("component", "owner"), Answer: d.owned})
	d.table, err = process.New(process.Config{}, process.Deps{Hasher: d.hasher, Log: d.log.With("component", "process"), Loss: d.losses.Count, User: d.users.name, Owner: d.owner, Judge: d})
	if err != nil {
		return fmt.Errorf("prepare process table: %w", err)
	}
	d.closers = append(d.closers, func() error { d.table.Close(); return nil })
	deps := dns.Deps{Log: d.log.With("component", "dns"), Loss: d.losses.Count}
	if d.reverse != nil {
		deps.Reverser = d.reverse
	}
	if d.names, err = dns.New(dns.Config{}, deps); err != nil {
		return fmt.Errorf("prepare names: %w", err)
	}
	return nil
}

// owned passes on which package a file belongs to.
func (d *daemon) owned(a owner.Answer) { d.table.Owned(a.Path, a.SHA256) }

func (d *daemon) openControl(context.Context) error {
	d.hub = control.NewHub(d.users.name)
	l, err := control.Listen(d.state.path, control.Access{Group: d.state.gid})
	if err != nil {
		return fmt.Errorf("open control socket: %w", err)
	}
	d.listener = l
	d.closers = append(d.closers, func() error { return control.Remove(d.state.path) })
	return nil
}

// publish is the monitor's sink: decide, record, tell. The store comes before
// the feed: a feed that begins with a flush then misses nothing.
func (d *daemon) publish(b monitor.Batch) {
	for i := range b.Connections {
		b.Connections[i].User = d.users.name(b.Connections[i].UID)
		d.place(&b.Connections[i])
	}
	byAge := func(x, y event.Connection) int { return x.Opened.Compare(y.Opened) }
	slices.SortFunc(b.Connections, byAge) // what is new is what came first
	d.infer(b.Connections)
	out := d.engine.Batch(context.Background(), b.Connections)
	d.meter.Decided(out.Decided)
	d.pulseOf.note(out.Alerts)
	if d.filter.Whole() { // an explanation would show what is not to be kept
		d.causes.keep(out.Causes)
	}
	d.look(b.Connections)
	rows, late, execs := d.filter.Connections(b.Connections), d.filter.Late(out.Late), d.filter.Execs(b.Execs)
	d.exporter.Publish(b.Time, rows, late, execs)
	rows = append(rows, late...)
	slices.SortFunc(rows, byAge)
	record := store.Batch{Time: b.Time, Connections: rows, Execs: execs, Losses: d.filter.Losses(b.Losses),
		Alerts: d.filter.Alerts(append(out.Alerts, lossAlerts(b.Losses)...)), Rules: out.Counts}
	if !record.Empty() {
		d.store.Append(record)
		d.hub.Publish(rows)
	}
}

// run works until ctx ends or a room fails. The monitor ends first, and what
// it needs for its last rows only after it.
func (d *daemon) run(ctx context.Context, ready func()) error {
	rest, endRest := context.WithCancel(context.WithoutCancel(ctx))
	defer endRest()
	g, rest := errgroup.WithContext(rest)
	g.Go(func() error { return d.hasher.Run(rest) })
	g.Go(func() error { return d.names.Run(rest) })
	g.Go(func() error { return d.owner.Run(rest) })
	g.Go(func() error { return d.refreshPlaces(rest) })
	g.Go(func() error { return d.store.Run(rest) })
	g.Go(func() error { return d.exporter.Run(rest) })
	if d.reputation != nil {
		g.Go(func() error { return d.reputation.Run(rest) })
	}
	g.Go(func() error { return d.manager.Run(rest) })
	d.runOutside(rest, g)
	if d.notifier != nil {
		g.Go(func() error { return d.notifier.Run(rest) })
	}
	server := control.New(control.Config{Access: control.Access{Group: d.state.gid}, Hub: d.hub, Status: d.status, Flush: d.store.Flush,
		Reload: d.reload, SetAlerts: d.setAlerts, Enforce: d.enforceOrder, Doctor: d.doctor, Reputation: d.verdict, Log: d.log})
	g.Go(func() error { return server.Serve(rest, d.listener) })
	g.Go(func() error {
		defer endRest()
		defer d.hub.Close()
		work, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(rest, cancel)() // another room failed
		return d.monitor.Run(work, func() { g.Go(func() error { return d.enforced(rest, ready) }) })
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// enforced denies as it was left, calls ready, and goes on until ctx ends.
func (d *daemon) enforced(ctx context.Context, ready func()) error {
	if err := d.startEnforce(ctx); err != nil {
		return err
	}
	ready()
	var telling sync.WaitGroup
	telling.Go(func() { d.subjects.tend(ctx) })
	defer telling.Wait()
	return d.enforce.Run(ctx)
}

// close closes what was opened, the last first.
func (d *daemon) close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	d.closers = nil
	return errors.Join(errs...)
}

// turns counts the monitor's turns: they go on as long as it is well.
func (d *daemon) turns() uint64 { return d.monitor.Stats().Turns }
