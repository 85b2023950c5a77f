package nft

import "snitch/monitor/event"

// known says what a chain can tell of a fact about the subject.
type known uint8

const (
	sure    known = 1
	unknown known = 2 // the packet does not show it here
	absent  known = 3 // there is none: no condition on it holds
)

// view is what one chain of judgement sees: packets of which direction, with
// which end as their source, and what of the subject.
type view struct {
	name        string
	direction   event.Direction
	swap        bool // the packet travels from the end that was connected to
	uid, cgroup known
	kernel      known // whether the subject is the kernel: absent: it is not
	alerts      bool  // count alert rules here: every connection passes one such view
}

// views are all chains of judgement. Incoming packets show the cgroup of the
// socket that they are for, but not its user; the answer shows the user. During
// a handshake there is no socket yet that has a cgroup, only its listener has.
func views() []view {
	return []view{
		{name: "out", direction: event.Out, uid: sure, cgroup: sure, kernel: absent, alerts: true},
		{name: "kernel", direction: event.Out, uid: absent, cgroup: sure, kernel: sure, alerts: true},
		{name: "in", direction: event.In, uid: unknown, cgroup: sure, kernel: unknown, alerts: true},
		{name: "flow", direction: event.In, uid: unknown, cgroup: unknown, kernel: unknown},
		{name: "synack", direction: event.In, swap: true, uid: sure, cgroup: unknown, kernel: absent},
		{name: "reply", direction: event.In, swap: true, uid: sure, cgroup: sure, kernel: absent},
	}
}
