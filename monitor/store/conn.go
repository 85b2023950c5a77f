package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"

	"modernc.org/sqlite"
)

// conn is the one connection that writes. It speaks to the driver directly:
// database/sql adds a pool, goroutines and locks that one writer never needs,
// and costs about a microsecond a statement. Not safe for concurrent use.
type conn struct {
	raw   driver.Conn
	stmts map[string]*stmt
}

// stmt is a prepared statement with the room for its arguments.
type stmt struct {
	raw  driver.Stmt
	args []driver.NamedValue
}

// pragmas of the writer. The cache is small on purpose: the hot pages are the
// right edge of a few trees, and memory counts more than reads.
var pragmas = [...]string{
	"busy_timeout(5000)",
	"auto_vacuum(2)",
	"journal_mode(WAL)",
	"synchronous(1)",
	"temp_store(2)",
	"cache_size(-512)",
	"journal_size_limit(4194304)",
	"wal_autocheckpoint(1000)",
	"trusted_schema(0)",
	"cell_size_check(1)",
}

// dial opens the database file for writing; it must exist.
func dial(path string) (*conn, error) {
	q := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_dqs": {"0"}, "_defensive": {"1"}, "_error_rc": {"1"}}
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	raw, err := new(sqlite.Driver).Open("file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	// Without its side files a reader that may not write in the directory
	// could not open the database once the daemon has ended.
	if _, err := raw.(sqlite.FileControl).FileControlPersistWAL("main", 1); err != nil {
		return nil, errors.Join(fmt.Errorf("keep log of %s: %w", path, err), raw.Close())
	}
	return &conn{raw: raw, stmts: make(map[string]*stmt)}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.raw.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

// prepared returns the statement of sql, which must be a constant: statements
// are kept until the connection closes.
func (c *conn) prepared(sql string) (*stmt, error) {
	if s, ok := c.stmts[sql]; ok {
		return s, nil
	}
	raw, err := c.raw.(driver.ConnPrepareContext).PrepareContext(context.Background(), sql)
	if err != nil {
		return nil, fmt.Errorf("prepare %.40q: %w", sql, err)
	}
	s := &stmt{raw: raw}
	c.stmts[sql] = s
	return s, nil
}

// exec runs a constant statement; args are int64, string, []byte or nil.
func (c *conn) exec(sql string, args ...any) (driver.Result, error) {
	s, err := c.prepared(sql)
	if err != nil {
		return nil, err
	}
	return s.exec(args...)
}

func (s *stmt) bind(args []any) []driver.NamedValue {
	s.args = s.args[:0]
	for i, a := range args {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return s.args
}

func (s *stmt) exec(args ...any) (driver.Result, error) {
	res, err := s.raw.(driver.StmtExecContext).ExecContext(context.Background(), s.bind(args))
	clear(s.args) // hold no strings of the last row
	return res, err
}

// script runs any number of statements that are not kept.
func (c *conn) script(ctx context.Context, sql string) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(ctx, sql, nil)
	return err
}

// rows calls f with each row that a constant query gives. The slice is used
// again for the next row.
func (c *conn) rows(ctx context.Context, sql string, f func([]driver.Value) error, args ...any) (err error) {
	s, err := c.prepared(sql)
	if err != nil {
		return err
	}
	r, err := s.raw.(driver.StmtQueryContext).QueryContext(ctx, s.bind(args))
	clear(s.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	row := make([]driver.Value, len(r.Columns()))
	for {
		if err := r.Next(row); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

// number returns the first column of the first row that a constant query
// gives; ok is false when there is no row or it is NULL.
func (c *conn) number(sql string, args ...any) (n int64, ok bool, err error) {
	err = c.rows(context.Background(), sql, func(row []driver.Value) error {
		if !ok {
			n, ok = row[0].(int64)
		}
		return nil
	}, args...)
	return n, ok, err
}

// transaction runs f between BEGIN IMMEDIATE and COMMIT, or rolls back.
func (c *conn) transaction(f func() error) error {
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	err := f()
	if err == nil {
		if _, err = c.exec("COMMIT"); err == nil {
			return nil
		}
		err = &commitError{err}
	}
	// SQLite may have rolled back by itself (a full disk), then this fails,
	// which is as good.
	_, _ = c.exec("ROLLBACK")
	return err
}

// commitError is a COMMIT that failed: the only place where it is not known
// at once whether the transaction happened.
type commitError struct{ err error }

func (e *commitError) Error() string { return "commit transaction: " + e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }
