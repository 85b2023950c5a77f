package notify

import (
	"snitch/monitor/event"
)

// Alert is one finding of policy. All strings may be hostile.
type Alert struct {
	Event   *event.Alert // of the record, not changed; comes back with a Click; may be nil
	Action  event.Action // ActionDeny is urgent, anything else is not
	Rule    string       // id of the rule
	Reason  string       // what the rule says of itself
	Program string       // path of the executable
	Peer    string       // name or address, with the port; "" for none
	UID     uint32       // whose process it is
}

// Trouble is something wrong with the daemon or its rules. It replaces an
// earlier one of the same Key.
type Trouble struct {
	Key   string
	Title string
	Text  string // lines
}

// Want is what a person asked of a toast.
type Want uint8

// Wants.
const (
	WantInvalid Want = 0
	WantDetails Want = 1 // all facts of the connection
	WantWhy     Want = 2 // why policy decided so
)

var wantNames = [...]string{"invalid", "details", "why"}

// String is the name of the action on the bus.
func (w Want) String() string {
	if int(w) >= len(wantNames) {
		return wantNames[0]
	}
	return wantNames[w]
}

// parseWant reads the key of an action. A click on the toast itself is called
// "default" by the specification.
func parseWant(s string) Want {
	switch s {
	case "details", "default":
		return WantDetails
	case "why":
		return WantWhy
	}
	return WantInvalid
}

// Click is a person's click on a toast.
type Click struct {
	UID   uint32 // whose desktop it is
	Alert Alert  // the latest of the toast's group
	Want  Want
}

// Text answers a click, as another toast.
type Text struct {
	Title string
	Body  string // lines
}
