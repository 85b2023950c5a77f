// Package sheet writes connections and groups as CSV (RFC 4180: a header,
// commas, CRLF), for spreadsheets and people's scripts.
//
// Cells hold what processes and networks named, so they are made harmless:
// what is not printable is escaped as the terminal shows it, and a text that a
// spreadsheet would take for a formula gets an apostrophe before it. Who wants
// the exact bytes takes JSON.
package sheet
