// Package text makes what other processes and the network named safe to show
// to a person: nothing that leaves it can move a cursor, change a colour, turn
// the direction of reading or end a line. It also holds the small wording
// helpers that all commands share (sizes, near misses, tables).
//
// Everything here is pure and safe for concurrent use, except Table, which
// belongs to one goroutine.
package text
