package lint

import (
	"fmt"
	"slices"
	"time"

	"snitch/monitor/event"
	"snitch/policy/report"
	"snitch/policy/rule"
)

// Config is what a check knows beside the rules.
type Config struct {
	Now time.Time // for what has expired
	// Expectations are the rule ids that the tests name, with the place where
	// they do; nil: tests are not looked at.
	Expectations map[string]rule.Position
	Warnings     []rule.Error // of the reader
}

// Check looks through a set. The findings are sorted by place.
func Check(set *rule.Set, cfg Config) []report.Finding {
	c := &checker{set: set, now: cfg.Now, gone: map[string]bool{}}
	for i := range set.Rules {
		c.rule(&set.Rules[i])
	}
	for i := range set.Confine {
		c.confine(&set.Confine[i])
	}
	c.outvoted()
	c.lists()
	c.userSpace()
	for _, w := range cfg.Warnings {
		c.say(report.Warning, CheckDoubtful, "", w.Pos, "%s", w.Msg)
	}
	c.tests(cfg.Expectations)
	report.Sort(c.findings)
	return c.findings
}

type checker struct {
	set      *rule.Set
	now      time.Time
	gone     map[string]bool // rules that were found superfluous: they make nothing else so
	findings []report.Finding
}

func (c *checker) add(f report.Finding) { c.findings = append(c.findings, f) }

func (c *checker) say(level report.Level, check, id string, pos rule.Position, format string, args ...any) {
	c.add(report.Finding{Level: level, Check: check, Rule: id, Pos: pos, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) rule(r *rule.Rule) {
	if expired(r.Expires, c.now) {
		c.say(report.Warning, CheckExpired, r.ID, r.At("expires"), "rule %s expired at %s", r.ID, r.Expires.Format(time.RFC3339))
	}
	if r.Reason == "" {
		c.say(report.Info, CheckReason, r.ID, r.Pos, "rule %s has no reason: who reads the alert will ask for one", r.ID)
	}
	c.duplicates(r)
	if why := neverMatches(&r.Match, c.set.Lists); why != "" {
		c.gone[r.ID] = true
		c.say(report.Error, CheckDead, r.ID, r.Pos, "rule %s never matches: %s", r.ID, why)
		return
	}
	if i := swallowed(c.set, r); i >= 0 {
		c.gone[r.ID] = true
		c.say(report.Error, CheckDead, r.ID, r.Pos, "rule %s never matches: its exception %d leaves alone all that it matches", r.ID, i+1)
		return
	}
	c.exceptions(r)
	c.allow(r)
	c.globs(r)
	c.nameScope(r)
}

func (c *checker) exceptions(r *rule.Rule) {
	for i := range r.Except {
		e, pos := &r.Except[i], r.At(fmt.Sprintf("except[%d]", i))
		switch why := neverMatches(e, c.set.Lists); {
		case why != "":
			c.say(report.Warning, CheckIdleExcept, r.ID, pos, "exception %d of rule %s never applies: %s", i+1, r.ID, why)
		case !matchesMeet(&r.Match, e):
			c.say(report.Warning, CheckIdleExcept, r.ID, pos, "exception %d of rule %s never applies: the rule matches nothing that it names", i+1, r.ID)
		}
	}
}

// allow looks at what opens more than its author may think.
func (c *checker) allow(r *rule.Rule) {
	if r.Action != event.ActionAllow {
		return
	}
	if r.Mode == event.ModeAudit {
		c.say(report.Warning, CheckAuditAllow, r.ID, r.At("mode"), "rule %s never allows anything: a rule of mode audit does not vote", r.ID)
		return
	}
	everything := world{lists: c.set.Lists, trusted: true}
	if !matchInside(&rule.Match{}, &r.Match, everything, everything) {
		return
	}
	level, why := report.Warning, "everything that no other rule names"
	if len(c.set.Confine) > 0 {
		level, why = report.Error, "everything, also to the programs that are confined"
	}
	c.say(level, CheckUnconditional, r.ID, r.Pos, "rule %s has no condition: it allows %s", r.ID, why)
}

// globs looks for patterns of programs that every program matches.
func (c *checker) globs(r *rule.Rule) {
	p := r.Match.Process
	if p == nil {
		return
	}
	for _, e := range p.Exe {
		if e.Text == "**" || e.Text == "/**" {
			c.say(report.Warning, CheckWideGlob, r.ID, r.At("process.exe"), "rule %s: every program matches process.exe %s; without the key the rule says the same", r.ID, e.Text)
		}
	}
}

// nameScope looks for allows by name that a scope keeps from the internet, where
// nearly all names lead.
func (c *checker) nameScope(r *rule.Rule) {
	to := r.Match.To
	if r.Action != event.ActionAllow || to == nil || len(to.Scope) == 0 || slices.Contains(to.Scope, rule.ScopeInternet) {
		return
	}
	for _, h := range to.Host {
		if h.Kind == rule.HostName || h.Kind == rule.HostBelow || h.Kind == rule.HostSuffix {
			c.say(report.Warning, CheckNameScope, r.ID, r.At("to.scope"), "rule %s allows %s with scope %s only: both must hold for one connection", r.ID, h.Name, to.Scope[0])
			return
		}
	}
}

func (c *checker) confine(e *rule.Confine) {
	if expired(e.Expires, c.now) {
		c.say(report.Warning, CheckExpired, e.ID, e.Pos, "confinement %s expired at %s", e.ID, e.Expires.Format(time.RFC3339))
		return
	}
	why := deadProcess(e.Process, "process")
	for i := range e.Except {
		if why == "" && processInside(e.Process, &e.Except[i]) {
			why = fmt.Sprintf("its exception %d leaves alone all that it matches", i+1)
		}
	}
	if why != "" {
		c.say(report.Error, CheckDead, e.ID, e.Pos, "confinement %s never matches: %s", e.ID, why)
		return
	}
	for i := range c.set.Rules {
		r := &c.set.Rules[i]
		if r.Action == event.ActionAllow && r.Mode == event.ModeEnforce && !expired(r.Expires, c.now) && processesMeet(e.Process, r.Match.Process) {
			return
		}
	}
	if !slices.ContainsFunc(c.set.Modules, func(m rule.Module) bool { return !m.Test }) { // which may allow
		c.say(report.Warning, CheckConfine, e.ID, e.Pos, "confinement %s denies everything: no rule allows these programs anything", e.ID)
	}
}

// duplicates looks for items that another of the same list covers. A list of
// hosts is read as its rule reads it.
func (c *checker) duplicates(r *rule.Rule) {
	w := worldOf(c.set, r.Action)
	for path, e := range map[string]*rule.EndpointMatch{"from": r.Match.From, "to": r.Match.To} {
		if e == nil {
			continue
		}
		if i, j := covered(e.Host, func(a, b rule.Host) bool { return hostInside(a, b, w, w) }); i >= 0 {
			c.say(report.Info, CheckDuplicate, r.ID, r.At(path+".host"), "rule %s: %s.host %s is covered by %s", r.ID, path, e.Host[i], e.Host[j])
		}
		if i, j := covered(portSpans(e.Port), func(a, b span) bool { return b.first <= a.first && a.last <= b.last }); i >= 0 {
			c.say(report.Info, CheckDuplicate, r.ID, r.At(path+".port"), "rule %s: %s.port %s is covered by %s", r.ID, path, e.Port[i], e.Port[j])
		}
	}
	if p := r.Match.Process; p != nil {
		if i, j := covered(p.Exe, globInside); i >= 0 {
			c.say(report.Info, CheckDuplicate, r.ID, r.At("process.exe"), "rule %s: process.exe %s is covered by %s", r.ID, p.Exe[i].Text, p.Exe[j].Text)
		}
	}
}

// maxItems bounds the comparison of the items of one list in pairs.
const maxItems = 500

// covered finds an item i that an item j covers.
func covered[T any](items []T, inside func(a, b T) bool) (i, j int) {
	if len(items) > maxItems {
		return -1, -1
	}
	for i := range items {
		for j := range items {
			if i != j && inside(items[i], items[j]) {
				return i, j
			}
		}
	}
	return -1, -1
}
