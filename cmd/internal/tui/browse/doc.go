// Package browse is `snitch tui`: the history of connections by any field that
// they can be grouped by, the connections themselves, alerts, rules, and what
// happens live, as tabs over one stack of filters and one period of time.
//
// Everything here belongs to the goroutine of the terminal interface, which
// never waits: questions to the database run aside (tasks), are cancelled when
// another one makes them stale, and are joined by App.Close.
package browse
