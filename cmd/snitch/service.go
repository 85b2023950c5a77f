package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/config"
	"snitch/cmd/internal/control"
)

// gcPercent trades a little processor time, of which an idle daemon uses none,
// for memory, which it holds always.
const gcPercent = 50

// memoryAim is where collecting becomes eager: a flood of new connections makes
// garbage faster than it is collected otherwise.
const memoryAim = 512 << 20

// stopWithin bounds the end: a disk or file system that hangs does not hold it.
const stopWithin = 4800 * time.Millisecond

// settled is how long after ready what starting needed is no longer used.
const settled = 2 * time.Second

// service is the daemon as its surroundings see it: signals, systemd, terminal.
type service struct {
	io     stdio
	opts   RunOptions
	cfg    config.Config
	log    *slog.Logger
	level  *slog.LevelVar
	errors *errorLog

	beside sync.WaitGroup // what ready started
}

// run is the life of the daemon. It returns nil after a stop that was asked
// for.
func (s *service) run(ctx context.Context) error {
	state, err := openState(s.cfg.State)
	if err != nil {
		return err
	}
	defer state.Close()
	d, err := assemble(ctx, s.cfg, s.opts.flag(), state, s.log, s.errors)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryAim)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.run(ctx, func() { s.ready(ctx, d, cancel) }) }()
	err = s.wait(ctx, done)
	if errors.Is(err, errLate) {
		return err // what hangs cannot be closed either
	}
	cancel()
	s.join()
	return errors.Join(err, d.close())
}

// join waits for what runs beside the daemon, but not for a terminal that
// somebody stopped with Ctrl-S.
func (s *service) join() {
	joined := make(chan struct{})
	go func() {
		s.beside.Wait()
		close(joined)
	}()
	select {
	case <-joined:
	case <-time.After(joinWithin):
	}
}

// joinWithin bounds the last lines of the live view.
const joinWithin = 300 * time.Millisecond

// errLate says that the daemon did not end in time.
var errLate = fmt.Errorf("did not stop within %s: what was not written yet is lost", stopWithin)

// wait waits for the end, and after a signal no longer than stopWithin.
func (s *service) wait(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		if err == nil {
			err = errors.New("the daemon ended by itself")
		}
		if ctx.Err() != nil {
			err = nil
		}
		return err
	case <-ctx.Done():
	}
	s.notify(systemd.SdNotifyStopping)
	select {
	case err := <-done:
		return err
	case <-time.After(stopWithin):
		return errLate
	}
}

// ready is called once everything is attached; stop ends the daemon.
func (s *service) ready(ctx context.Context, d *daemon, stop context.CancelFunc) {
	lastGap(ctx, d.state.path).tell(s.log, d.started)
	fmt.Fprintln(s.io.err, "ready")
	s.notify(systemd.SdNotifyReady)
	s.beside.Go(func() { s.trim(ctx) })
	s.beside.Go(func() { s.signals(ctx, d) })
	s.beside.Go(func() { s.handOver(ctx, d, stop) })
	s.beside.Go(func() { s.watchdog(ctx, d) })
	s.beside.Go(func() { s.sleeps(ctx) })
	if s.opts.Live || !s.opts.Quiet && isTerminal(s.io.out) {
		s.beside.Go(func() { s.live(d.hub) })
	}
}

// trim gives back what loading needed.
func (s *service) trim(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(settled):
	}
	if err := broker.Trim(); err != nil {
		s.log.Debug("memory was not given back", "error", err)
	}
}

// notify tells systemd, if it started this process.
func (s *service) notify(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		s.log.Warn("systemd could not be told", "state", state, "error", err)
	}
}

// signals reloads on SIGHUP until ctx ends.
func (s *service) signals(ctx context.Context, d *daemon) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			s.notify(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
			s.reload(d)
			d.refresh()
			s.notify(systemd.SdNotifyReady)
		}
	}
}

// handOver ends the daemon on SIGUSR2, for another that takes over at once: what
// denies stays in the kernel until then.
func (s *service) handOver(ctx context.Context, d *daemon, stop context.CancelFunc) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	defer signal.Stop(asked)
	select {
	case <-ctx.Done():
	case <-asked:
		d.upgrade.Store(true)
		stop()
	}
}

// reload reads the configuration again. What does not load changes nothing;
// what cannot change while the daemon runs is named.
func (s *service) reload(d *daemon) {
	cfg, err := s.opts.settings()
	if err != nil {
		s.log.Error("the configuration does not load and was not used", "error", err)
		return
	}
	live, later := s.cfg.Changes(&cfg)
	s.cfg.TakeLive(&cfg)
	setLevel(s.level, s.cfg.LogLevel)
	d.filter.Set(privacyOf(s.cfg.Log))
	if len(later) > 0 {
		s.log.Warn("reloaded: some changes count from the next start", "now", live, "next_start", later)
		return
	}
	s.log.Info("reloaded", "changed", live)
}

// watchdog pings systemd as long as the monitor turns: a daemon that lives and
// watches nothing is to be restarted.
func (s *service) watchdog(ctx context.Context, d *daemon) {
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("systemd's watchdog is not understood", "error", err)
		return
	}
	if every == 0 {
		return
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	last := d.turns()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now := d.turns(); now != last || s.cfg.DrainInterval >= every/2 {
				last = now
				s.notify(systemd.SdNotifyWatchdog)
			}
		}
	}
}

// live shows connections on standard output until the feed ends, with the last
// batch of the monitor.
func (s *service) live(hub *control.Hub) {
	sub, err := hub.Subscribe()
	if err != nil {
		s.log.Warn("no live view", "error", err)
		return
	}
	defer sub.Close()
	p := &logPrinter{io: s.io, rows: newTable(s.io.out, shortTime)}
	f := follower{printer: p, io: s.io, seen: newSeen(true)}
	for {
		messages, err := sub.Next(context.Background())
		if err != nil {
			return // the end
		}
		for _, m := range messages {
			if err := f.message(m); err != nil {
				s.log.Warn("live view ended", "error", err)
				return
			}
		}
	}
}
