package enforce

import (
	"context"
	"errors"
	"fmt"
	"time"

	"snitch/monitor/event"
)

// Bounds of the time to confirm.
const (
	MinConfirm = time.Second
	MaxConfirm = 24 * time.Hour
)

// Order is what somebody wants of enforcement.
type Order struct {
	// Confirm is the time by which somebody must confirm; 0: it stays.
	Confirm time.Duration
	// Force goes on although the rules allow nothing, or cannot all be enforced.
	Force bool
	PID   int    // of who asks, in /proc; 0: unknown
	By    string // the same for people
}

// On turns enforcement on, and keeps it so over restarts. When it returns an
// error, nothing changed. That it is on already is no error.
func (c *Controller) On(ctx context.Context, o Order) error {
	if o.Confirm != 0 && (o.Confirm < MinConfirm || o.Confirm > MaxConfirm) {
		return fmt.Errorf("the time to confirm is %s, not %s to %s", o.Confirm, MinConfirm, MaxConfirm)
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	on, sessions, err := c.prepare(o)
	if err != nil || on {
		return err
	}
	err = c.deps.Recompile()
	if err == nil {
		err = c.enable(ctx, o, sessions)
	}
	c.mu.Lock()
	c.coming = nil
	c.mu.Unlock()
	if err != nil {
		c.recompile()
	}
	return err
}

// prepare looks whether enforcement can be turned on, and what to protect; on
// says that it is on already.
func (c *Controller) prepare(o Order) (on bool, sessions []Session, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.show()
	if err := c.usable(); err != nil {
		return false, nil, err
	}
	c.follow()
	if c.saved.Armed != nil {
		return false, nil, ErrArmed
	}
	if mode, _ := c.mode(); mode == event.ModeEnforce {
		next := c.saved
		if next.Mode == "" { // the configuration wants it; from now on it stays
			next = Saved{Mode: event.ModeEnforce.String(), Since: time.Now(), By: o.By}
			if err := next.save(c.cfg.Dir); err != nil {
				return false, nil, err
			}
			c.saved = next
		}
		return true, nil, nil
	}
	if c.cfg.ProtectSSH && o.PID > 0 {
		sessions = FindSessions("/proc", o.PID)
	}
	c.coming = c.protected(sessions)
	return false, sessions, nil
}

// enable saves and applies. The deadline is on disk before anything is denied.
func (c *Controller) enable(ctx context.Context, o Order, sessions []Session) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.show()
	if err := c.usable(); err != nil { // the rules are others by now
		return err
	}
	if !o.Force {
		if LocksOut(c.policy.Set, time.Now()) {
			return ErrLockOut
		}
		if unheld := c.deps.Backend.Status().Unheld; len(unheld) > 0 {
			return fmt.Errorf("%w: %s: %s", ErrUnheld, unheld[0].Rule, unheld[0].Reason)
		}
	}
	before := c.saved
	next := Saved{Mode: event.ModeEnforce.String(), Since: time.Now(), By: o.By, Sessions: sessions}
	if o.Confirm > 0 {
		next.Armed = &Armed{Boot: c.cfg.Boot, Deadline: c.deps.Clock() + o.Confirm, Wall: time.Now().Add(o.Confirm)}
	}
	if err := next.save(c.cfg.Dir); err != nil {
		return err
	}
	err := clearPanic(c.cfg.Dir)
	if err == nil {
		c.saved = next
		c.watchDeadline()
		err = c.apply(ctx)
	}
	if err == nil {
		c.problem, c.told = "", ""
		c.deps.Log.Warn("enforcement is on", "component", "enforce", "by", o.By, "confirm", o.Confirm)
		return nil
	}
	c.saved = before
	c.watchDeadline()
	if before.Mode == "" {
		before.Mode = event.ModeAudit.String()
	}
	if back := before.save(c.cfg.Dir); back != nil {
		err = errors.Join(err, fmt.Errorf("it is off, but the next start would try again: %w", back))
	}
	return errors.Join(err, c.apply(ctx))
}

// Confirm makes an armed mode stay.
func (c *Controller) Confirm(ctx context.Context, by string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.show()
	if c.closed {
		return errors.New("snitch is ending")
	}
	if c.follow() {
		_ = c.apply(ctx) // told, and tried again
		return fmt.Errorf("%w any more: %s", ErrNotArmed, c.saved.By)
	}
	if c.saved.Armed == nil {
		return ErrNotArmed
	}
	next := c.saved
	next.Armed, next.By = nil, by
	if err := next.save(c.cfg.Dir); err != nil {
		return err
	}
	c.saved = next
	c.watchDeadline()
	c.deps.Log.Warn("enforcement is confirmed", "component", "enforce", "by", by)
	_ = c.apply(ctx) // it is confirmed; only the fail mode changes
	return nil
}

// Off turns enforcement off, now and for later starts. An error that is about
// the file says so: in the kernel it is off then all the same.
func (c *Controller) Off(ctx context.Context, by string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	err := c.disable(ctx, by)
	if c.tookSessions() {
		c.recompile()
	}
	return err
}

func (c *Controller) disable(ctx context.Context, by string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.show()
	if c.cfg.Flag == event.ModeEnforce && !Panicked(c.cfg.Dir) {
		return ErrFlag
	}
	mode, _ := c.mode()
	c.stale = c.stale || mode == event.ModeEnforce
	c.saved = Saved{Mode: event.ModeAudit.String(), Since: time.Now(), By: by}
	c.watchDeadline()
	err := c.saved.save(c.cfg.Dir)
	if err != nil {
		err = fmt.Errorf("it is off until the next start: %w", err)
	} else if c.cfg.Flag != event.ModeEnforce {
		err = clearPanic(c.cfg.Dir)
	}
	c.deps.Log.Warn("enforcement is off", "component", "enforce", "by", by)
	return errors.Join(err, c.apply(ctx))
}

// tookSessions reports whether rules are to be compiled without what was
// protected.
func (c *Controller) tookSessions() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	stale := c.stale
	c.stale = false
	return stale
}

// Panic removes everything from the kernel, whatever the flag and the
// configuration say, until On or Off is asked for.
func (c *Controller) Panic(ctx context.Context, by string) error {
	marked := MarkPanic(c.cfg.Dir)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.show()
	c.saved = Saved{Mode: event.ModeAudit.String(), Since: time.Now(), By: by}
	c.watchDeadline()
	c.stale = true // compiled by the next tick: this does not wait
	c.deps.Log.Warn("panic: nothing is denied any more", "component", "enforce", "by", by)
	return errors.Join(c.saved.save(c.cfg.Dir), marked, c.apply(ctx))
}
