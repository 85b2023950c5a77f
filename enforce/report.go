package enforce

import (
	"time"

	"snitch/monitor/event"
	"snitch/policy/rule"
)

// Report is the state of enforcement for people.
type Report struct {
	Mode   event.Mode // that is wanted
	Source Source
	Since  time.Time // zero: nobody turned it on or off here
	By     string
	// Armed says that it is rolled back at Deadline unless confirmed; Left is
	// how long that is.
	Armed      bool
	Deadline   time.Time
	Left       time.Duration
	Fail       Fail // configured
	FailClosed bool // what that means with these rules, now
	Hold       HoldConfig
	ProtectSSH bool
	Protected  []rule.Rule // in force
	Beats      uint64      // heartbeats sent
	Problem    string      // why the kernel is not as wanted
	Backend    *Status     // nil: there is none
}

// Status is a copy, and does not wait for a change that is under way.
func (c *Controller) Status() Report {
	c.view.Lock()
	r := c.shown
	c.view.Unlock()
	r.Beats = c.beats.Load()
	if r.Armed {
		r.Left = max(0, time.Duration(c.deadline.Load())-c.deps.Clock())
	}
	if c.deps.Backend != nil {
		s := c.deps.Backend.Status()
		r.Backend = &s
	}
	return r
}

// show makes what Status tells. The caller holds mu.
func (c *Controller) show() {
	mode, source := c.mode()
	d := c.desired()
	r := Report{Mode: mode, Source: source, Since: c.saved.Since, By: c.saved.By, Fail: c.cfg.Fail, FailClosed: d.FailClosed,
		Hold: c.cfg.Hold, ProtectSSH: c.cfg.ProtectSSH, Problem: c.problem}
	if a := c.saved.Armed; a != nil {
		r.Armed, r.Deadline = true, a.Wall
	}
	if mode == event.ModeEnforce {
		r.Protected = c.protected(c.saved.Sessions).Rules()
	}
	c.view.Lock()
	c.shown = r
	c.view.Unlock()
}
