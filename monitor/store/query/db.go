package query

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"snitch/monitor/store/schema"
)

// Errors of Open and of every read.
var (
	// ErrNotThere: there is no database.
	ErrNotThere = errors.New("no database there (is the daemon running with this state directory?)")
	// ErrNotReadable: the files may not be read.
	ErrNotReadable = errors.New("the database may not be read (ask to be added to the group that owns the state directory, or use sudo)")
	// ErrNewer: the schema is newer than this build knows.
	ErrNewer = errors.New("the database was written by a newer snitch (use that one)")
	// ErrOlder: the schema is older than this build reads.
	ErrOlder = errors.New("the database was written by an older snitch (start the new daemon with it once: it brings it up to date)")
	// ErrDamaged: the file is no database, not ours, or its content is broken.
	ErrDamaged = errors.New("the database is damaged or not of snitch (the daemon sets a damaged one aside when it starts)")
)

// maxConns bounds the connections that read at once.
const maxConns = 4

// idleFor is how long a connection that nobody uses is kept, with its cache.
const idleFor = 30 * time.Second

// DB reads one database. It is safe for concurrent use. When the daemon sets
// the file aside and begins a new one, the next read is of the new one.
type DB struct {
	path  string
	users func(uint32) string
	drv   *sqlite.Driver

	mu     sync.Mutex // guards what follows
	closed bool
	pool   *sql.DB
	file   os.FileInfo
	names  *names
}

// Open prepares to read the database file at path and checks that it can be
// read. users gives the name of a user id, "" for none; it must be safe for
// concurrent use and may be nil.
func Open(ctx context.Context, path string, users func(uid uint32) string) (*DB, error) {
	if users == nil {
		users = func(uint32) string { return "" }
	}
	db := &DB{path: path, users: users, drv: new(sqlite.Driver)}
	if err := db.register(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := db.read(ctx, func(tx *reader) error { return tx.checkSchema(ctx) }); err != nil {
		return nil, errors.Join(fmt.Errorf("open database %s: %w", path, err), db.Close())
	}
	return db, nil
}

// Close ends all reads. A read after it fails.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed = true
	if db.pool == nil {
		return nil
	}
	err := db.pool.Close()
	db.pool = nil
	return err
}

// register adds our functions to the connections of db only.
func (db *DB) register() error {
	// Without VolatileArgs strings would end at their first NUL.
	return errors.Join(
		db.drv.RegisterFunction("snitch_glob", &sqlite.FunctionImpl{NArgs: 2, Deterministic: true, VolatileArgs: true,
			Scalar: func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
				pattern, _ := args[0].(string)
				value, _ := args[1].(string)
				return glob(pattern).match(value), nil
			}}),
		db.drv.RegisterFunction("snitch_list", &sqlite.FunctionImpl{NArgs: 2, Deterministic: true, VolatileArgs: true,
			Scalar: func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
				pattern, _ := args[0].(string)
				text, _ := args[1].(string)
				list, err := schema.ToList(text)
				return err == nil && listMatch([]glob{glob(pattern)}, list), nil
			}}),
		db.drv.RegisterFunction("snitch_user", &sqlite.FunctionImpl{NArgs: 1,
			Scalar: func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
				uid, _ := args[0].(int64)
				return db.users(uint32(uid)), nil
			}}),
	)
}

// connector opens connections with our functions, without registering a
// driver for the whole program.
type connector struct {
	drv *sqlite.Driver
	dsn string
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.drv.Open(c.dsn)
}

// Driver implements driver.Connector.
func (c connector) Driver() driver.Driver { return c.drv }

// current returns the pool for the file that is at the path now.
func (db *DB) current() (*sql.DB, *names, error) {
	file, err := os.Stat(db.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, nil, ErrNotThere
	case errors.Is(err, os.ErrPermission):
		return nil, nil, ErrNotReadable
	case err != nil:
		return nil, nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, nil, sql.ErrConnDone
	}
	if db.pool != nil && os.SameFile(db.file, file) {
		return db.pool, db.names, nil
	}
	var old error
	if db.pool != nil {
		old = db.pool.Close()
	}
	q := url.Values{"mode": {"ro"}, "_dqs": {"0"}, "_defensive": {"1"}, "_error_rc": {"1"}, "_query_only": {"1"},
		"_pragma": {"busy_timeout(5000)", "trusted_schema(0)", "cell_size_check(1)", "temp_store(2)", "cache_size(-1024)"}}
	dsn := "file:" + (&url.URL{Path: db.path}).EscapedPath() + "?" + q.Encode()
	db.pool, db.file, db.names = sql.OpenDB(connector{db.drv, dsn}), file, newNames()
	db.pool.SetMaxOpenConns(maxConns)
	db.pool.SetMaxIdleConns(maxConns)
	db.pool.SetConnMaxIdleTime(idleFor)
	return db.pool, db.names, old
}

// reader is one read transaction: all that it reads is of one moment.
type reader struct {
	conn  *sql.Conn
	tx    *sql.Tx
	names *names
	users func(uint32) string
}

// read runs f in a read transaction.
func (db *DB) read(ctx context.Context, f func(*reader) error) error {
	pool, names, err := db.current()
	if err != nil {
		return err
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return db.explain(err)
	}
	defer conn.Close() // back to the pool
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return db.explain(err)
	}
	err = f(&reader{conn: conn, tx: tx, names: names, users: db.users})
	if end := tx.Rollback(); err == nil && !errors.Is(end, sql.ErrTxDone) {
		err = end
	}
	return db.explain(err)
}

// explain adds what an error means for a person.
func (db *DB) explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY:
		return fmt.Errorf("%w: %w", ErrNotReadable, err)
	}
	return err
}

// checkSchema refuses files that are not ours or too new.
func (r *reader) checkSchema(ctx context.Context) error {
	var app, version int64
	if err := r.tx.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return fmt.Errorf("read application id: %w", err)
	}
	if err := r.tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	switch {
	case app == 0 && version == 0:
		return ErrNotThere // made, but nothing was written yet
	case app != schema.ApplicationID:
		return fmt.Errorf("application id %#x: %w", app, ErrDamaged)
	case version < schema.Version:
		return fmt.Errorf("schema %d, this snitch reads %d: %w", version, schema.Version, ErrOlder)
	case version > schema.Version:
		return fmt.Errorf("schema %s, this snitch knows %d: %w", strconv.FormatInt(version, 10), schema.Version, ErrNewer)
	}
	return nil
}
