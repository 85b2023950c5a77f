// Package schema is the shape of the database, on which its one writer
// (monitor/store) and its readers (monitor/store/query) must agree: the
// numbered migrations, the numbers of dimensions and resolutions, and how a
// value is put into a column. It does no input or output.
//
// docs/database.md explains the tables for people who query them by hand.
package schema

// FileName is the database's name inside the state directory.
const FileName = "snitch.db"

// ApplicationID marks the file as ours in its header (PRAGMA application_id):
// "SNIT".
const ApplicationID = 0x534e4954

// Version is the newest schema that this build knows (PRAGMA user_version).
const Version = 7

// Migrations returns the SQL that leads from version i to i+1, for every i
// from 0. A migration that was ever released is never changed.
func Migrations() []string {
	return []string{version1, version2, version3, version4, version5, version6, version7}
}

// LongConnection is the duration in nanoseconds beyond which a connection is
// in the indexes connection_long and connection_ended, whose definitions repeat
// the number.
const LongConnection = 600_000_000_000
