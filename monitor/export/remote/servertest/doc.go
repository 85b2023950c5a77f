// Package servertest starts PostgreSQL and MariaDB servers of a test's own: as a
// user without rights, in a directory of their own, on a unix socket and on
// loopback with TLS. They can be killed and started again. Tests only.
package servertest
