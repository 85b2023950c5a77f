package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/cmd/internal/config"
	"snitch/monitor/event"
	"snitch/monitor/notify"
	"snitch/policy"
	"snitch/policy/explain"
	"snitch/policy/rule"
)

func TestAnswersToClicks(t *testing.T) {
	a := &event.Alert{ID: 7, Rule: "no-paste", Action: "deny", Reason: "company rule", Exe: "/usr/bin/curl", SHA256: "ab", Cmdline: "curl\nRule: fake",
		ParentExe: "/bin/sh", ParentView: "container:1", UID: 1000, User: "ann", PID: 9, Direction: "out", Proto: "tcp", Peer: "[2001:db8::1]:443", Domain: "paste.example", First: time.Now()}
	if got := alertPeer(a); got != "paste.example:443" {
		t.Errorf("peer: %q", got)
	}
	details := alertDetails(a)
	for _, want := range []string{"Program: /usr/bin/curl\n", `Command: curl\nRule: fake` + "\n", "Started by: container:1:/bin/sh\n", "User: ann (1000)\n", "Rule: no-paste\n", "snitch alerts ack 7"} {
		if !strings.Contains(details, want) {
			t.Errorf("no %q in details:\n%s", want, details)
		}
	}
}

// TestWhyWithoutTheConnection: what is left to say is what the rule says of
// itself.
func TestWhyWithoutTheConnection(t *testing.T) {
	set := &rule.Set{Rules: []rule.Rule{{ID: "no-paste", Pos: rule.Position{File: "web.yaml", Line: 4}}}, Confine: []rule.Confine{{ID: "git-locked", Pos: rule.Position{File: "git.yaml", Line: 2}}}}
	for _, test := range []struct {
		set  *rule.Set
		rule string
		want notify.Text
	}{
		{set, "no-paste", notify.Text{Title: "Why? Rule no-paste denies this", Body: "company rule\nIt stands in web.yaml:4.\nMore: snitch alerts why 7"}},
		{set, "git-locked", notify.Text{Title: "Why? Rule git-locked denies this", Body: "company rule\nThe program is confined: no allow rule grants it this connection.\nIt stands in git.yaml:2.\nMore: snitch alerts why 7"}},
		{set, "removed", notify.Text{Title: "Why? Rule removed denies this", Body: "company rule\nIt is not in the rules that hold now.\nMore: snitch alerts why 7"}},
		{nil, "", notify.Text{Title: "Why? No rule matched", Body: "company rule\nNo rule speaks of this connection: that is an alert.\nMore: snitch alerts why 7"}},
	} {
		a := &event.Alert{ID: 7, Rule: test.rule, Action: "deny", Reason: "company rule"}
		if diff := cmp.Diff(test.want, whyText(a, test.set, nil)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.rule, diff)
		}
	}
}

func TestWhyIsBounded(t *testing.T) {
	e := &explain.Explanation{Action: "alert", Rule: "other"}
	for i := range 50 {
		e.Matches = append(e.Matches, explain.Match{ID: fmt.Sprint("m", i), Action: "allow", Mode: "enforce"})
	}
	lines := strings.Split(whyText(&event.Alert{ID: 7, Rule: "r", Action: "deny"}, nil, e).Body, "\n")
	if len(lines) != whyLines+2 || lines[0] != "The rules have changed since. By those that hold now:" || lines[len(lines)-1] != "More: snitch alerts why 7" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

func TestCauses(t *testing.T) {
	c := newCauses()
	key := func(i int) event.AlertKey { return event.AlertKey{Kind: event.AlertRule, Rule: strconv.Itoa(i)} }
	for i := range 3 * causesKept {
		c.keep([]policy.Cause{{Alert: key(i), Connection: event.Connection{ID: 1}}, {Alert: key(i), Connection: event.Connection{ID: uint64(i)}}})
	}
	if len(c.of) != causesKept {
		t.Errorf("%d causes are kept, want %d", len(c.of), causesKept)
	}
	for i := range 3 * causesKept {
		cause, ok := c.find(key(i))
		if want := i >= 2*causesKept; ok != want || ok && cause.Connection.ID != uint64(i) {
			t.Fatalf("cause %d: %t, of connection %d", i, ok, cause.Connection.ID)
		}
	}
}

func TestNotifierIsConfigured(t *testing.T) {
	if n, err := newNotifier(config.Notify{}, nil, nil, nil); n != nil || err != nil {
		t.Errorf("switched off: %v, %v", n, err)
	}
	tell(nil, true, []event.Alert{{Kind: event.AlertRule}}) // does nothing
	if _, err := newNotifier(config.Notify{Desktop: true, Quiet: "7-8"}, nil, nil, nil); err == nil {
		t.Error("quiet hours 7-8 are taken")
	}
}
