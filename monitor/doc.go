// Package monitor turns what the kernel says into connections.
//
// One goroutine (Monitor.Run) owns all state: it reads the kernel's ring of
// records (exec, fork, exit, payloads), drains the kernel's byte counters once
// per interval, joins the two by process identity, adds names, and hands whole
// batches to its sink. The order inside one turn makes the join exact: the
// counters are drained first and the ring is read after, so that the record of
// every process that could have moved those bytes has been seen.
//
// The monitor promises: no byte is recorded twice, and no byte is dropped
// without being counted as a Loss.
package monitor
