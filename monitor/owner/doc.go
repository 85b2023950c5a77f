// Package owner says which package of the host owns an executed file, and
// whether the file still is what the package holds.
//
// Promise. NAME is answered only when the executed bytes (by SHA-256) are those
// that the package database has a digest of. Nothing waits: Lookup answers from
// memory or not yet, and the answer comes through a callback. What cannot be
// known is "".
//
// Facts. "NAME": owned and unmodified. "modified:NAME": the database has another
// digest. "unverified:NAME": owned, but not comparable: the database has no
// digest (dpkg's configuration files), or the file under the path is not, or no
// longer, the executed one. "none": no package owns the path. "": unknown; there
// is no database, it cannot be read, or the file is of another mount namespace.
//
// Databases. dpkg, whose digests are MD5: whoever can choose both contents of a
// package can make two with one MD5, but nobody can yet make a file for an MD5
// that is given. rpm, as SQLite (rpm 4.16 and later), and pacman: SHA-256, as a
// rule. Each is read as files, as root, without its tools; it belongs to root,
// and is parsed as if it did not.
//
// Terms. A claim is what one package says of one path. The canonical path has
// the host's merged directories (/bin is /usr/bin) resolved. A stamp is the
// state of a database's files: when it changes, every answer is forgotten.
//
// Owner. Run owns the databases; Owners.mu guards what Lookup reads.
package owner
