package record

import (
	_ "embed" // the rules
	"slices"
	"strconv"
	"strings"
	"time"

	"snitch/monitor/event"
)

//go:embed rules.yaml
var rulesFile []byte

// rules decides as the programs say, in audit mode first and enforcing later,
// and counts.
type rules struct {
	enforceFrom time.Time
	counts      map[string]*event.RuleCount
	alerts      []event.Alert
	decisions   map[string]*event.Decision // what is the same for all connections
}

func newRules(enforceFrom time.Time) *rules {
	return &rules{enforceFrom: enforceFrom, counts: map[string]*event.RuleCount{}, decisions: map[string]*event.Decision{}}
}

// decide sets the decision of a connection that begins, and what follows.
func (r *rules) decide(l *life) {
	g := l.program
	rule, would := g.rule, event.ActionAllow
	switch g.would {
	case "deny":
		would = event.ActionDeny
	case "alert":
		would = event.ActionAlert
	}
	if rule == "editor-telemetry" && !strings.HasSuffix(l.Name.Domain, ".data.microsoft.com") {
		rule, would = "", event.ActionAllow
	}
	if rule == "ssh-in" && l.Remote.Addr().IsPrivate() {
		rule, would = "", event.ActionAllow
	}
	if rule == "" && l.Remote.Addr().IsLoopback() {
		rule = "local"
	}
	l.Decision = *r.decision(rule, would, l.Opened)
	l.Decision.At = l.Opened.Add(300 * time.Microsecond)
	if l.Decision.Action == event.ActionDeny {
		l.Result, l.Sent, l.Received, l.Packets = event.ResultDenied, 0, 0, 0
		l.end = l.Opened
		l.Last = l.end
	}
	r.count(l, rule, would)
}

// decision is what a rule says at a time.
func (r *rules) decision(rule string, would event.Action, at time.Time) *event.Decision {
	mode, revision := event.ModeAudit, "3f1c9a04"
	if !at.Before(r.enforceFrom) {
		mode, revision = event.ModeEnforce, "a81be5d2"
	}
	key := rule + would.String() + mode.String()
	if d := r.decisions[key]; d != nil {
		return d
	}
	d := &event.Decision{Action: would, Would: would, Mode: mode, Rule: rule, Revision: revision, Reason: reasonOf(rule)}
	if rule != "" {
		d.Matches, d.Pos = []string{rule}, "rules.yaml:"+lineOf(rule)
	}
	// The editor was forbidden nothing in earnest yet.
	if would == event.ActionDeny && (mode == event.ModeAudit || rule == "editor-telemetry") {
		d.Action, d.Capped = event.ActionAllow, true
	}
	r.decisions[key] = d
	return d
}

func (r *rules) count(l *life, rule string, would event.Action) {
	if rule == "" {
		return
	}
	n := r.counts[rule]
	if n == nil {
		n = &event.RuleCount{Rule: rule}
		r.counts[rule] = n
	}
	n.Hits, n.Wins, n.Last = n.Hits+1, n.Wins+1, l.Opened
	if would == event.ActionAllow {
		return
	}
	switch {
	case would == event.ActionAlert:
		n.WouldAlert++
	case l.Decision.Action == event.ActionDeny:
		n.Denied++
		fallthrough
	default:
		n.WouldDeny++
	}
	r.alerts = append(r.alerts, event.NewAlert(event.AlertRule, rule, would, reasonOf(rule), l.Opened, &l.Connection))
}

// take hands out what was counted since it was called last.
func (r *rules) take() (alerts []event.Alert, counts []event.RuleCount) {
	for _, n := range r.counts {
		counts = append(counts, *n)
	}
	slices.SortFunc(counts, func(a, b event.RuleCount) int { return strings.Compare(a.Rule, b.Rule) })
	alerts = r.alerts
	r.alerts = nil
	clear(r.counts)
	return alerts, counts
}

// ruleLine finds a rule in the file.
func ruleLine(rule string) (number int, line string) {
	for i, l := range strings.Split(string(rulesFile), "\n") {
		if strings.Contains(l, "{id: "+rule+",") {
			return i + 1, l
		}
	}
	return 0, ""
}

func lineOf(rule string) string {
	n, _ := ruleLine(rule)
	return strconv.Itoa(n)
}

func reasonOf(rule string) string {
	_, line := ruleLine(rule)
	_, reason, _ := strings.Cut(line, "reason: ")
	return strings.Trim(strings.TrimSuffix(reason, "}"), `"`)
}
