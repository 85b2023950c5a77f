// Package top is the live table: what talks now, how fast, and what the rules
// say to it. It is `snitch top`, and a tab of `snitch tui`.
//
// Collector holds the connections that the daemon's feed tells of, within
// bounds, and adds them up; it is safe for concurrent use. Follow fills it.
// Model shows it and belongs to the goroutine of the terminal interface, which
// never waits for the collector: rows are made aside and arrive as a message.
package top
