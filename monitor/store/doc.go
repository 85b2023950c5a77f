// Package store writes the record to SQLite: what the monitor hands over is
// committed once per interval, whole or not at all, and whatever could not be
// kept is counted.
//
// A Store owns one file, snitch.db in the state directory, and is its only
// writer. Append takes snapshots of connections and never blocks; the writer
// goes over them in a transaction, and only when that is committed does the
// memory of what was written move on. So a failed transaction is tried again
// as a whole: nothing is written twice and nothing is forgotten. While the
// disk refuses, batches wait in memory up to a bound; beyond it the oldest are
// dropped and counted, in rows and in bytes.
//
// Terms. A snapshot is an event.Connection with its totals so far; a later one
// replaces the row of an earlier one. A batch is what one transaction wrote:
// the sums of table batch and of table connection agree at any moment, also
// after kill -9. To intern is to keep a string or tuple once, under a number.
// A rollup adds up bytes and connections per time bucket and dimension.
//
// Readers use package query. docs/database.md describes the tables.
package store
