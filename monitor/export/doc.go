// Package export gives the record to the outside: text logs, the journal and
// syslog; and it holds the privacy that all of the record is under.
//
// Privacy is applied once, by a Filter, between the decision and everything that
// keeps or shows: the database, the live feed, the outputs of this package. What
// it takes away is nowhere.
//
// Outputs are written by one goroutine each behind a bounded queue, and never
// make the monitor wait. What an output could not take is counted.
//
// Terms. A change is one line about a connection: that it was opened, that what
// is known of it changed, that it was closed; its totals count from its begin,
// so the last line of an id says all.
package export
