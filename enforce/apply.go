package enforce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// maxRetry bounds the ticks between two tries of a change that fails.
const maxRetry = 60

// mode is the one in effect, and where it comes from. The caller holds mu.
func (c *Controller) mode() (event.Mode, Source) {
	if Panicked(c.cfg.Dir) {
		return event.ModeAudit, SourcePanic
	}
	if c.cfg.Flag != event.ModeInvalid {
		return c.cfg.Flag, SourceFlag
	}
	if a := c.saved.Armed; a != nil && a.over(c.cfg.Boot, c.deps.Clock()) {
		return event.ModeAudit, SourceSaved // nobody has to have noticed yet
	}
	if saved, _ := parseMode(c.saved.Mode); saved != event.ModeInvalid {
		return saved, SourceSaved
	}
	return c.cfg.Mode, SourceConfig
}

// desired is what the backend is to hold. The caller holds mu.
func (c *Controller) desired() Desired {
	d := Desired{Mode: event.ModeAudit, Policy: c.policy, Hold: c.cfg.Hold, Scope: c.cfg.Scope}
	if mode, _ := c.mode(); mode == event.ModeEnforce && c.policy != nil {
		d.Mode = event.ModeEnforce
		// While it is armed, a daemon that died must not hold anybody out.
		d.FailClosed = c.saved.Armed == nil && c.cfg.Fail.closed(c.policy.Set, time.Now())
	}
	return d
}

// apply brings the backend to what is desired. On an error the backend holds
// what it held, which is told; ticks try again. The caller holds mu.
func (c *Controller) apply(ctx context.Context) error {
	if c.deps.Backend == nil {
		return nil
	}
	d := c.desired()
	if c.holds && d == c.applied {
		c.retry, c.failed = 0, 0
		return nil
	}
	// What ends enforcement is not given up because who asked for it left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), setWithin)
	defer cancel()
	c.beating.Store(d.Mode == event.ModeEnforce || c.held().FailClosed)
	if err := c.deps.Backend.Set(ctx, d); err != nil {
		c.failed++
		c.retry = min(c.failed, maxRetry)
		c.beating.Store(c.beatsFor(d))
		err = fmt.Errorf("bring rules and mode %s into the kernel: %w", d.Mode, err)
		c.report(err)
		return err
	}
	c.applied, c.holds, c.retry, c.failed = d, true, 0, 0
	c.beating.Store(d.Mode == event.ModeEnforce)
	return nil
}

// held is what the backend holds; nothing, as long as it took nothing.
func (c *Controller) held() Desired {
	if !c.holds {
		return Desired{Mode: event.ModeAudit}
	}
	return c.applied
}

// beatsFor says whether heartbeats go on after the backend refused d. What was
// to end and fails open is left to the kernel's own dead-man; what fails closed
// would shut the host.
func (c *Controller) beatsFor(d Desired) bool {
	held := c.held()
	return held.Mode == event.ModeEnforce && (d.Mode == event.ModeEnforce || held.FailClosed)
}

// follow ends a mode that nobody confirmed in time, or that the panic file
// ended, and reports whether it did. If that cannot be saved, the deadline in
// the file is over all the same at every later start, and the panic file is
// there. The caller holds mu, and applies.
func (c *Controller) follow() bool {
	var why string
	switch a := c.saved.Armed; {
	case a != nil && a.over(c.cfg.Boot, c.deps.Clock()):
		why = "enforcement was not confirmed in time: it is off again"
	case c.saved.Mode == event.ModeEnforce.String() && Panicked(c.cfg.Dir):
		why = "enforcement was ended by panic"
	default:
		return false
	}
	c.saved = Saved{Mode: event.ModeAudit.String(), Since: time.Now(), By: why}
	if err := c.saved.save(c.cfg.Dir); err != nil {
		c.report(err)
	}
	c.watchDeadline()
	c.stale = true
	c.deps.Log.Warn("enforcement ended", "component", "enforce", "reason", why)
	c.deps.Alert(event.NewAlert(event.AlertConfig, "enforce", event.ActionNone, why, time.Now(), nil))
	return true
}

// watchDeadline tells the heartbeat when it must end. The caller holds mu.
func (c *Controller) watchDeadline() {
	at := int64(0)
	if a := c.saved.Armed; a != nil {
		at = 1 // of another boot: over
		if a.Boot == c.cfg.Boot {
			at = max(1, int64(a.Deadline))
		}
	}
	c.deadline.Store(at)
}

// report tells a problem, the same one once. The caller holds mu.
func (c *Controller) report(err error) {
	c.problem = err.Error()
	if c.problem == c.told {
		return
	}
	c.told = c.problem
	c.deps.Log.Error("enforcement is not as it should be", "component", "enforce", "error", err)
	c.deps.Alert(event.NewAlert(event.AlertError, "enforce", event.ActionNone, c.problem, time.Now(), nil))
}

// bootTime is CLOCK_BOOTTIME. Linux has it since 2.6.39.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// usable says why nothing can be enforced, nil if it can. The caller holds mu.
func (c *Controller) usable() error {
	switch {
	case c.closed:
		return errors.New("snitch is ending")
	case c.deps.Backend == nil:
		return ErrNoBackend
	case c.policy == nil:
		return ErrNoPolicy
	case c.cfg.Flag != event.ModeInvalid:
		return ErrFlag
	}
	return nil
}
