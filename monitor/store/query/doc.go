// Package query reads the record that package store writes. It is the one
// query language of all interfaces: the same filters select rows of the past
// in SQL and live records in memory, and give the same answer.
//
// A DB never writes and needs no rights beyond reading the three files
// snitch.db, snitch.db-wal and snitch.db-shm, which the group of the state
// directory has. It works while the daemon writes, and when no daemon runs.
// Reads are done in short transactions, so that a slow consumer does not keep
// the writer from emptying its log.
//
// A filter is FIELD OPERATOR VALUE[,VALUE...]: values of one filter are
// alternatives, several filters must all hold. docs/filters.md lists the fields.
package query
