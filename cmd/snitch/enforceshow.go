package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"snitch/cmd/internal/control"
	"snitch/cmd/internal/text"
	"snitch/enforce"
)

// enforceLines is the state of enforcement for people.
func enforceLines(e *control.Enforce, now time.Time) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, text.Clean(fmt.Sprintf(format, args...)))
	}
	line("mode", "%s", modeLine(e, now))
	if e.Armed {
		line("", "ROLLED BACK in %s unless confirmed: 'snitch enforce confirm'", text.Duration(time.Duration(e.Left*float64(time.Second)).Round(time.Second)))
	}
	if e.Problem != "" {
		line("", "NOT AS IT SHOULD BE: %s", e.Problem)
	}
	backendLines(line, e.Backend)
	line("without snitch", "%s", failLine(e))
	line("undecided", "a connection waits %s at most, then: %s", text.Duration(time.Duration(e.HoldFor*float64(time.Second))), e.HoldThen)
	ssh := "no"
	if e.ProtectSSH {
		ssh = "the session of who turns enforcement on"
	}
	line("protects", "%s", ssh)
	for _, r := range e.Protected {
		line("", "%s: %s", r.ID, r.Reason)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

func modeLine(e *control.Enforce, now time.Time) string {
	s := e.Mode + ", by " + e.Source
	if e.By != "" {
		s += " (" + e.By + ")"
	}
	if !e.Since.IsZero() {
		s += ", " + ago(e.Since, now)
	}
	return s
}

func failLine(e *control.Enforce) string {
	s := "fail-open: connections pass"
	if e.FailClosed {
		s = "fail-closed: what no table allows is denied"
	}
	switch {
	case e.Mode != modeEnforce:
		s = "nothing is denied"
	case e.Armed:
		s += ", always so until confirmed"
	case e.Fail == enforce.FailAuto.String():
		s += ", because " + map[bool]string{true: "everything is confined", false: "not everything is confined"}[e.FailClosed]
	}
	return s + " (enforce.fail: " + e.Fail + ")"
}

func backendLines(line func(name, format string, args ...any), b *control.EnforceBackend) {
	if b == nil {
		line("denies", "NOTHING: this build or host has nothing to deny with")
		return
	}
	if b.Mode == modeEnforce {
		line("denies", "%s, rules %s, generation %d", b.Name, b.Revision, b.Generation)
	} else {
		line("denies", "nothing now: %s, mode %s in the kernel", b.Name, b.Mode)
	}
	line("", "subject classes %d, table entries %d; holds by %s", b.Classes, b.Entries, b.Hold)
	line("", "%d denied, %d held (%d to the deadline), %d wait, %d not recorded", b.Denied, b.Held, b.Expired, b.Waiting, b.Lost)
	for _, hook := range b.Hooks {
		line("", "%s", hook)
	}
	for _, u := range b.Unheld {
		line("", "NOT ENFORCED: %s (%s): %s", u.Rule, u.Pos, u.Reason)
	}
	if b.Problem != "" {
		line("", "PROBLEM: %s", b.Problem)
	}
}

// reported is a Controller's report in the words of the control socket.
func reported(r enforce.Report) *control.Enforce {
	e := &control.Enforce{Mode: r.Mode.String(), Source: r.Source.String(), Since: r.Since, By: r.By, Armed: r.Armed, Deadline: r.Deadline,
		Left: r.Left.Seconds(), Fail: r.Fail.String(), FailClosed: r.FailClosed, HoldFor: r.Hold.Deadline.Seconds(), HoldThen: r.Hold.AtDeadline.String(),
		ProtectSSH: r.ProtectSSH, Protected: []control.ProtectedRule{}, Beats: r.Beats, Problem: r.Problem}
	for i := range r.Protected {
		e.Protected = append(e.Protected, control.ProtectedRule{ID: r.Protected[i].ID, Reason: r.Protected[i].Reason})
	}
	if b := r.Backend; b != nil {
		e.Backend = &control.EnforceBackend{Name: b.Backend, Mode: b.Mode.String(), Generation: b.Generation, Revision: b.Revision, FailClosed: b.FailClosed,
			Hooks: b.Hooks, Hold: b.Hold, Classes: b.Classes, Entries: b.Entries, Denied: b.Denied, Held: b.Held, Expired: b.Expired, Waiting: b.Waiting,
			Lost: b.Lost, Unheld: []control.UnheldRule{}, Problem: b.Problem}
		for _, u := range b.Unheld {
			e.Backend.Unheld = append(e.Backend.Unheld, control.UnheldRule{Rule: u.Rule, Pos: u.Pos.String(), Reason: u.Reason})
		}
	}
	return e
}
