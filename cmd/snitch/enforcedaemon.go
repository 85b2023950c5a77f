package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"snitch/cmd/internal/control"
	"snitch/enforce"
	"snitch/monitor/event"
	"snitch/monitor/store"
	"snitch/policy/rule"
)

// openEnforce makes the controller of enforcement. It comes before the rules,
// which it adds to; startEnforce follows them.
func (d *daemon) openEnforce(ctx context.Context) error {
	fail, err := enforce.ParseFail(d.cfg.Enforce.Fail)
	if err != nil {
		return usageError(fmt.Errorf("enforce.fail: %w", err), "mend the configuration")
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("read boot id: %w", err)
	}
	d.openBackend(ctx)
	helper, needs := d.helper()
	deps := enforce.Deps{Recompile: func() error { return d.manager.Recompile() }, Alert: d.raise, Healthy: d.healthy, Log: d.log}
	if d.denier != nil {
		deps.Backend = d.denier
	}
	d.enforce = enforce.New(enforce.Config{Dir: d.state.path, Mode: modeOf(d.cfg.Enforce.Mode), Flag: d.flag, Fail: fail, Scope: d.cfg.Cgroup,
		Hold:       enforce.HoldConfig{Deadline: d.cfg.Enforce.Hold.Deadline, AtDeadline: holdAction(d.cfg.Enforce.Hold.Then)},
		ProtectSSH: d.cfg.Enforce.ProtectSSH, Helper: helper, Needs: needs, Boot: strings.TrimSpace(string(boot))}, deps)
	return nil
}

// helper is who asks for names and talks to what the configuration names, in the
// words of the rules that protect it.
func (d *daemon) helper() (*enforce.Helper, []enforce.Need) {
	needs := d.needs()
	self, err := os.Readlink("/proc/self/exe")
	if err != nil || d.reverse == nil && len(needs) == 0 {
		return nil, nil
	}
	if d.infers { // packets show a user
		self = ""
	}
	return &enforce.Helper{Exe: self, UID: helperUser().UID}, needs
}

// endEnforce comes last of what is opened, for it must be the first to end: the
// kernel asks the rules and the processes as long as it denies.
func (d *daemon) endEnforce(context.Context) error {
	d.closers = append(d.closers, func() error { return d.enforce.Close(context.Background(), d.upgrade.Load()) })
	return nil
}

// startEnforce brings back the mode that was left, once it is known who lives.
// A host that cannot go on recording, loudly; one that was configured to deny
// does not begin.
func (d *daemon) startEnforce(ctx context.Context) error {
	err := d.enforce.Start(ctx)
	if errors.Is(err, enforce.ErrNoBackend) && d.enforce.Status().Source == enforce.SourceConfig {
		return lacksError(err, "set enforce.mode to audit: everything is recorded and nothing denied")
	}
	close(d.enforcing)
	return nil // told, shown in status, and tried again
}

// healthy reports whether the monitor turns.
func (d *daemon) healthy() bool {
	d.pulse.Lock()
	defer d.pulse.Unlock()
	now, turns := time.Now(), d.turns()
	if turns != d.pulse.turns || d.pulse.at.IsZero() {
		d.pulse.turns, d.pulse.at = turns, now
	}
	return now.Sub(d.pulse.at) < d.cfg.DrainInterval+unwellAfter
}

// unwellAfter is how long the monitor may take for a turn.
const unwellAfter = 10 * time.Second

// pulse is when the monitor was last seen to turn.
type pulse struct {
	sync.Mutex
	turns uint64
	at    time.Time
}

func modeOf(name string) event.Mode {
	if name == event.ModeEnforce.String() {
		return event.ModeEnforce
	}
	return event.ModeAudit
}

func holdAction(name string) event.Action {
	if name == event.ActionDeny.String() {
		return event.ActionDeny
	}
	return event.ActionAllow
}

// enforceOrder carries out what root asked for on the control socket.
func (d *daemon) enforceOrder(ctx context.Context, o control.EnforceOrder) (control.Enforce, error) {
	select {
	case <-d.enforcing:
	case <-ctx.Done():
		return control.Enforce{}, fmt.Errorf("snitch is starting: %w", ctx.Err())
	}
	by := fmt.Sprintf("%s, pid %d", d.users.name(o.UID), o.PID)
	var err error
	switch o.Do {
	case control.EnforceOn:
		err = d.enforce.On(ctx, enforce.Order{Confirm: o.Confirm, Force: o.Force, PID: o.PID, By: by})
	case control.EnforceOff:
		err = d.enforce.Off(ctx, by)
	case control.EnforceConfirm:
		err = d.enforce.Confirm(ctx, by)
	case control.EnforcePanic:
		err = d.enforce.Panic(ctx, by)
	}
	if errors.Is(err, enforce.ErrNoBackend) {
		err = fmt.Errorf("%w: %w", control.ErrNoEnforcement, err)
	}
	return *reported(d.enforce.Status()), err
}

// protect adds what is not to be denied to the rules.
func (d *daemon) protect(set *rule.Set) (*rule.Set, error) {
	if p := d.enforce.Protected(); p != nil {
		return p.Merge(set)
	}
	return set, nil
}

// alsoProtected proves that the rules of a machine take the protected ones.
func alsoProtected(set *rule.Set) (*rule.Set, error) { return new(enforce.Protected).Merge(set) }

func hasProtected(set *rule.Set) bool {
	return slices.ContainsFunc(set.Rules, func(r rule.Rule) bool { return enforce.IsProtected(r.ID) })
}

// protectedFiles are what the record keeps of the protected rules in set, so
// that it can be replayed.
func (d *daemon) protectedFiles(set *rule.Set) []store.RuleFile {
	p := d.enforce.Protected()
	if p == nil || !hasProtected(set) {
		return nil
	}
	data, err := p.Marshal()
	if err != nil {
		d.log.Warn("the record does not keep the protected rules", "component", "enforce", "error", err)
		return nil
	}
	return []store.RuleFile{{Path: enforce.ProtectedFile, Data: data}}
}
