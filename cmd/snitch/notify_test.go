package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/cmd/internal/config"
	"snitch/monitor/event"
	"snitch/monitor/notify"
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
	set := &rule.Set{Rules: []rule.Rule{{ID: "no-paste", Pos: rule.Position{File: "web.yaml", Line: 4}}}, Confine: []rule.Confine{{ID: "git-locked", Pos: rule.Position{File: "git.yaml", Line: 2}}}}
	for _, test := range []struct {
		set  *rule.Set
		rule string
		want notify.Text
	}{
		{set, "no-paste", notify.Text{Title: "Why? Rule no-paste denies this", Body: "company rule\nIt stands in web.yaml:4.\nAll conditions: snitch policy explain --last"}},
		{set, "git-locked", notify.Text{Title: "Why? Rule git-locked denies this", Body: "company rule\nThe program is confined: no allow rule grants it this connection.\nIt stands in git.yaml:2.\nAll conditions: snitch policy explain --last"}},
		{set, "removed", notify.Text{Title: "Why? Rule removed denies this", Body: "company rule\nIt is not in the rules that hold now.\nAll conditions: snitch policy explain --last"}},
		{nil, "", notify.Text{Title: "Why? No rule matched", Body: "company rule\nNo rule speaks of this connection: that is an alert.\nAll conditions: snitch policy explain --last"}},
	} {
		b := *a
		b.Rule = test.rule
		if diff := cmp.Diff(test.want, whyAlert(test.set, &b)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.rule, diff)
		}
	}
}

func TestNotifierIsConfigured(t *testing.T) {
	if n, err := newNotifier(config.Notify{}, nil, nil, nil); n != nil || err != nil {
		t.Errorf("switched off: %v, %v", n, err)
	}
	tell(nil, []event.Alert{{Kind: event.AlertRule}}) // does nothing
	if _, err := newNotifier(config.Notify{Desktop: true, Quiet: "7-8"}, nil, nil, nil); err == nil {
		t.Error("quiet hours 7-8 are taken")
	}
}
