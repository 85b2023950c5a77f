package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors that Open returns and that trying again will not cure.
var (
	// ErrLocked: another process writes to this state directory.
	ErrLocked = errors.New("another snitch uses this state directory (stop it, or give another --state)")
	// ErrNewer: the file was written by a newer version of snitch.
	ErrNewer = errors.New("the database has a newer schema than this snitch knows (install the newer snitch, or move snitch.db away)")
	// ErrForeign: snitch.db is a database of another program.
	ErrForeign = errors.New("the file is a database of another program (move it away, or give another --state)")
)

// errCorrupt marks a file whose content cannot be trusted.
var errCorrupt = errors.New("database is corrupt")

func isCorrupt(err error) bool {
	if errors.Is(err, errCorrupt) {
		return true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return true
	}
	return false
}

// isFinal reports whether Open should give up: the operator must act.
func isFinal(err error) bool {
	return errors.Is(err, ErrLocked) || errors.Is(err, ErrNewer) || errors.Is(err, ErrForeign)
}

func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errCorrupt}, args...)...)
}
