package main

import (
	"fmt"

	"snitch/monitor/event"
	"snitch/monitor/store"
)

// raise brings an alert that no connection led to into the record.
func (d *daemon) raise(a event.Alert) {
	d.store.Append(store.Batch{Time: a.Last, Alerts: []event.Alert{a}})
}

// lossPrefix begins the rule of an alert about something that was lost.
const lossPrefix = "loss."

// lossAlerts makes an alert of each loss: one row a cause in the end, which
// counts.
func lossAlerts(losses []event.Loss) []event.Alert {
	var out []event.Alert
	for i := range losses {
		l := &losses[i]
		a := event.NewAlert(event.AlertError, lossPrefix+l.Cause.String(), event.ActionNone, lossReason(l), l.Time, nil)
		a.Count = max(1, l.Count)
		out = append(out, a)
	}
	return out
}

func lossReason(l *event.Loss) string {
	reason := "not recorded as it should have been: " + l.Cause.String()
	if l.Sent+l.Received > 0 {
		reason += fmt.Sprintf(", %d bytes up and %d down", l.Sent, l.Received)
	}
	if l.Detail != "" {
		reason += ": " + l.Detail
	}
	return reason
}
