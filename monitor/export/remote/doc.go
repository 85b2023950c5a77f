// Package remote takes the record to an SQL server on another host: PostgreSQL,
// or MariaDB and MySQL.
//
// What one transaction of the store wrote is packed into parcels inside that
// transaction (NewPacker), so a crash cannot make the two records differ. A
// Forwarder in the core hands one parcel after the other to a helper process
// without privileges (Work), which writes each in one transaction of the server,
// with its random key in the table of batches. A parcel that had arrived when
// the connection broke meets that key, and is done: nothing is lost, nothing is
// there twice, and the account needs no right but INSERT.
//
// Terms. A row of a connection is its growth: the sums over all its rows are its
// totals. A parcel is one transaction of the server. An Access is where the
// server is and how it is entered.
//
// docs/remote-sql.md describes the tables for people who query them.
package remote
