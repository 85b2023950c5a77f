package notify

import (
	"fmt"
	"path"
	"strings"

	"snitch/monitor/event"
)

// Urgencies of the specification.
const (
	urgencyNormal   uint8 = 1
	urgencyCritical uint8 = 2
)

// Icons of the freedesktop.org icon names.
const (
	iconAlert = "dialog-warning"
	iconDeny  = "dialog-error"
	iconText  = "dialog-information"
)

// Keys of toasts. A group's are even, and the answer to a click on it is the odd
// one after it.
const (
	summaryKey uint64 = 2
	firstKey   uint64 = 4
)

// toast is one notification as the helper gets it. Its texts are clean and
// bounded; Body is lines, without markup.
type toast struct {
	Key     uint64 `json:"key"` // a toast of the same key is replaced
	Title   string `json:"title"`
	Body    string `json:"body"`
	Icon    string `json:"icon"`
	Urgency uint8  `json:"urgency"`
	Actions bool   `json:"actions"` // offer details and why
}

// toast is what a group shows.
func (g *group) toast() toast {
	if g.trouble != nil {
		return toast{Key: g.key, Title: clean(g.trouble.Title, maxTitle, false), Body: cleanLines(g.trouble.Text),
			Icon: iconDeny, Urgency: urgencyCritical}
	}
	a := g.alert
	t := toast{Key: g.key, Icon: iconAlert, Urgency: urgencyNormal, Actions: true}
	verb := "Alert"
	if a.Action == event.ActionDeny {
		verb, t.Icon, t.Urgency = "Denied", iconDeny, urgencyCritical
	}
	name := clean(path.Base(a.Program), maxTitle/3, true)
	t.Title = fmt.Sprintf("%s: %s", verb, name)
	if a.Peer != "" {
		t.Title += " → " + clean(a.Peer, maxTitle/2, false)
	}
	var lines []string
	if a.Reason != "" {
		lines = append(lines, clean(a.Reason, maxLine, false))
	}
	lines = append(lines, clean(a.Program, maxLine, true), "Rule "+clean(a.Rule, maxLine/2, false))
	if g.count > 1 {
		lines = append(lines, grouped(g.count)+" times")
	}
	t.Body = strings.Join(lines, "\n")
	return t
}

// answer is the toast that answers a click on the group of key.
func answer(key uint64, text Text) toast {
	return toast{Key: key | 1, Title: clean(text.Title, maxTitle, false), Body: cleanLines(text.Body), Icon: iconText, Urgency: urgencyNormal}
}
