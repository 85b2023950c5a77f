package main

import (
	"fmt"
	"strings"
	"sync"

	"snitch/monitor/event"
	"snitch/monitor/notify"
	"snitch/policy"
	"snitch/policy/explain"
	"snitch/policy/rule"
)

// causesKept bounds the alerts that a click on the desktop can explain.
const causesKept = 512

// causes are the connections that led to the last alerts. It is safe for
// concurrent use.
type causes struct {
	mu   sync.Mutex
	of   map[event.AlertKey]policy.Cause
	keys [causesKept]event.AlertKey // ring
	next int
}

func newCauses() *causes { return &causes{of: map[event.AlertKey]policy.Cause{}} }

// keep remembers causes. The latest of an alert counts.
func (c *causes) keep(list []policy.Cause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		key := list[i].Alert
		if _, known := c.of[key]; !known {
			delete(c.of, c.keys[c.next])
			c.keys[c.next] = key
			c.next = (c.next + 1) % causesKept
		}
		c.of[key] = list[i]
	}
}

func (c *causes) find(key event.AlertKey) (policy.Cause, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cause, ok := c.of[key]
	return cause, ok
}

// why says why an alert was raised, by the rules in force.
func (d *daemon) why(a *event.Alert) notify.Text {
	p := d.engine.Policy()
	if p == nil {
		return whyText(a, nil, nil)
	}
	cause, ok := d.causes.find(a.Key())
	if !ok {
		return whyText(a, p.Set, nil)
	}
	facts := policy.Facts(&cause.Connection)
	return whyText(a, p.Set, explain.Explain(p.Table(), &facts, cause.At, cause.Custom...))
}

// whyLines bounds an explanation on the desktop.
const whyLines = 12

// whyText is the answer to a click: the explanation, nil when the connection is
// not remembered, without the near misses, for which a toast has no room.
func whyText(a *event.Alert, set *rule.Set, e *explain.Explanation) notify.Text {
	verb := map[event.Action]string{event.ActionDeny: "denies this", event.ActionAlert: "wants you to know"}[actionOf(a.Action)]
	text := notify.Text{Title: "Why? Rule " + a.Rule + " " + verb}
	if a.Rule == "" {
		text.Title = "Why? No rule matched"
	}
	var lines []string
	if e == nil {
		lines = ruleLines(a, set)
	} else {
		if e.Rule != a.Rule || e.Action != a.Action {
			lines = append(lines, "The rules have changed since. By those that hold now:")
		}
		short := *e
		short.NearMisses = nil
		lines = append(lines, strings.Split(strings.TrimSpace(short.Text()), "\n")...)
	}
	if len(lines) > whyLines {
		lines = append(lines[:whyLines], "…")
	}
	lines = append(lines, fmt.Sprintf("More: snitch alerts why %d", a.ID))
	text.Body = strings.Join(lines, "\n")
	return text
}

// ruleLines say what the rule of an alert says of itself, and where it stands.
func ruleLines(a *event.Alert, set *rule.Set) (lines []string) {
	if a.Reason != "" {
		lines = append(lines, lineOf(a.Reason))
	}
	var pos *rule.Position
	if set != nil {
		if r := set.Rule(a.Rule); r != nil {
			pos = &r.Pos
		} else if c := set.Confined(a.Rule); c != nil {
			pos = &c.Pos
			lines = append(lines, "The program is confined: no allow rule grants it this connection.")
		}
	}
	switch {
	case pos != nil:
		lines = append(lines, fmt.Sprintf("It stands in %s:%d.", pos.File, pos.Line))
	case a.Rule == "":
		lines = append(lines, "No rule speaks of this connection: that is an alert.")
	case set != nil:
		lines = append(lines, "It is not in the rules that hold now.")
	}
	return lines
}
