package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"snitch/cmd/internal/broker"
	"snitch/cmd/internal/config"
	"snitch/monitor/event"
	"snitch/monitor/notify"
)

// newNotifier makes what tells people on their desktops; nil when they do not
// want it. why answers who asks for the reason of an alert.
func newNotifier(cfg config.Notify, client *broker.Client, why func(*event.Alert) notify.Text, log *slog.Logger) (*notify.Notifier, error) {
	if !cfg.Desktop {
		return nil, nil
	}
	quiet, err := notify.ParseQuiet(cfg.Quiet)
	if err != nil {
		return nil, usageError(fmt.Errorf("configuration: notify.quiet: %w", err), "write it as 22:00-07:00")
	}
	return notify.New(notify.Config{Quiet: quiet}, notify.Deps{
		Spawn: func(ctx context.Context, uid uint32) (net.Conn, error) {
			return client.StartFor(ctx, broker.Notify, uid)
		},
		Answer: func(_ context.Context, c notify.Click) (notify.Text, error) {
			if c.Want == notify.WantWhy {
				return why(c.Alert.Event), nil
			}
			return notify.Text{Title: "Details of alert " + fmt.Sprint(c.Alert.Event.ID), Body: alertDetails(c.Alert.Event)}, nil
		},
		Log: log.With("component", "notify"),
	}), nil
}

// openNotifier prepares notifications; they begin with run.
func (d *daemon) openNotifier(context.Context) (err error) {
	d.notifier, err = newNotifier(d.cfg.Notify, d.broker, d.why, d.log)
	return err
}

// tell brings alerts that became new to the desktops. As long as nothing is
// denied, nobody is told so. It never waits.
func tell(n *notify.Notifier, denying bool, raised []event.Alert) {
	if n == nil {
		return
	}
	for i := range raised {
		a := raised[i]
		switch a.Kind {
		case event.AlertRule, event.AlertNovelty:
			action := actionOf(a.Action)
			if action == event.ActionDeny && !denying {
				action = event.ActionAlert
			}
			n.Alert(notify.Alert{Event: &a, Action: action, Rule: a.Rule, Reason: a.Reason, Program: a.Exe, Peer: alertPeer(&a), UID: a.UID})
		case event.AlertConfig:
			n.Trouble(notify.Trouble{Key: a.Rule, Title: "The rules do not load: the last good ones hold", Text: a.Reason})
		case event.AlertError:
			if strings.HasPrefix(a.Rule, lossPrefix) {
				continue // single facts, which the record and status count
			}
			n.Trouble(notify.Trouble{Key: a.Rule, Title: "snitch does not work as it should", Text: a.Reason})
		}
	}
}

func actionOf(s string) event.Action {
	if s == event.ActionDeny.String() {
		return event.ActionDeny
	}
	return event.ActionAlert
}

// alertPeer is the other end, by name when it has one.
func alertPeer(a *event.Alert) string {
	if a.Domain == "" {
		return a.Peer
	}
	if i := strings.LastIndexByte(a.Peer, ':'); i >= 0 {
		return a.Domain + a.Peer[i:]
	}
	return a.Domain
}

// alertDetails are all facts of an alert, a line each.
func alertDetails(a *event.Alert) string {
	var b strings.Builder
	for _, fact := range []struct{ name, value string }{
		{"Program", viewOf(a.ExeView, a.Exe)}, {"SHA-256", a.SHA256}, {"Command", a.Cmdline}, {"Started by", viewOf(a.ParentView, a.ParentExe)},
		{"User", fmt.Sprintf("%s (%d)", a.User, a.UID)}, {"Process", fmt.Sprint(a.PID)}, {"Connection", strings.TrimSpace(a.Direction + " " + a.Proto + " " + a.Peer)},
		{"Name", a.Domain}, {"Rule", a.Rule}, {"First", a.First.Local().Format("2006-01-02 15:04:05")},
	} {
		if fact.value != "" {
			fmt.Fprintf(&b, "%s: %s\n", fact.name, lineOf(fact.value))
		}
	}
	fmt.Fprintf(&b, "More: snitch alerts; snitch alerts ack %d", a.ID)
	return b.String()
}

func viewOf(view, path string) string {
	if view == "" || path == "" {
		return path
	}
	return view + ":" + path
}

// lineOf keeps hostile text from adding lines that look like facts.
func lineOf(s string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s) }
