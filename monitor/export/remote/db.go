package remote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Bounds of one statement: rows, and bytes of text, below what servers take by
// default also when every byte is escaped.
const (
	statementRows  = 200
	statementBytes = 256 << 10
)

// deliverWithin bounds one parcel.
const deliverWithin = time.Minute

// ErrSchema says that the server's tables are not those of this build.
var ErrSchema = errors.New("the tables are not those that this snitch writes")

// querier asks for one row.
type querier func(query string, args []any, to ...any) error

// DB is one server. Its methods may be called concurrently.
type DB struct {
	d  *dialect
	db *sql.DB
}

// Open prepares access to a server. Nothing is sent yet.
func Open(a *Access) (*DB, error) {
	d, err := dialectOf(a.Dialect)
	if err != nil {
		return nil, err
	}
	db, err := d.open(a)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return &DB{d: d, db: db}, nil
}

// Close closes the connection.
func (s *DB) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}

// Deliver writes a parcel. fresh is false when it had arrived before. After an
// error it may have arrived or not: deliver it again.
func (s *DB) Deliver(ctx context.Context, p *Parcel) (fresh bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliverWithin)
	defer cancel()
	fresh, err = s.deliver(ctx, p, func(v any) any { return v })
	if err != nil && s.d.data(err) {
		// Text that this server cannot keep (it has another character set) must
		// not block what follows.
		fresh, err = s.deliver(ctx, p, plainValue)
	}
	return fresh, err
}

func plainValue(v any) any {
	if s, ok := v.(string); ok {
		return plain(s)
	}
	return v
}

func (s *DB) deliver(ctx context.Context, p *Parcel, change func(any) any) (fresh bool, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if !fresh {
			_ = tx.Rollback() // the error that led here counts
		}
	}()
	if err := checkSchema(ctx, tx); err != nil {
		return false, err
	}
	known, err := s.announce(ctx, tx, p, change)
	if known || err != nil {
		return false, err
	}
	if err := s.putRows(ctx, tx, p, change); err != nil {
		return false, err
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("commit: %w", err)
	}
	return true, nil
}

func checkSchema(ctx context.Context, tx *sql.Tx) error {
	var version int
	err := tx.QueryRowContext(ctx, "SELECT version FROM "+tableSchema+" ORDER BY version DESC LIMIT 1").Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%s is empty: %w", tableSchema, ErrSchema)
	case err != nil:
		return fmt.Errorf("read version of the tables: %w", err)
	case version != SchemaVersion:
		return fmt.Errorf("schema %d, this snitch writes %d: %w", version, SchemaVersion, ErrSchema)
	}
	return nil
}

// announce writes the row of the batch; known says that it is there already.
func (s *DB) announce(ctx context.Context, tx *sql.Tx, p *Parcel, change func(any) any) (known bool, err error) {
	columns := batchColumns()
	marks := make([]string, len(columns))
	for i := range columns {
		marks[i] = s.d.placeholder(i+1, columns[i].kind)
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s (batch, host, written, row_count) VALUES (%s)", tableBatch, strings.Join(marks, ", ")),
		p.Key, change(p.head.Host), p.head.Written, len(p.rows))
	if err != nil && s.d.duplicate(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("write batch: %w", err)
	}
	return false, nil
}

func (s *DB) putRows(ctx context.Context, tx *sql.Tx, p *Parcel, change func(any) any) error {
	for from := 0; from < len(p.rows); {
		st := statement{d: s.d, table: p.rows[from].table}
		to := from
		for to < len(p.rows) && p.rows[to].table == st.table && to-from < statementRows && st.bytes < statementBytes {
			head := []any{p.Key, int64(to), p.head.Host, p.head.Written}
			st.add(append(head, st.table.values(p.rows[to].row)...), change)
			to++
		}
		if _, err := tx.ExecContext(ctx, st.sql.String(), st.args...); err != nil {
			return fmt.Errorf("write %s: %w", st.table.name, err)
		}
		from = to
	}
	return nil
}

// statement is an INSERT of several rows.
type statement struct {
	d     *dialect
	table *table
	sql   strings.Builder
	args  []any
	bytes int // of text
}

func (st *statement) add(values []any, change func(any) any) {
	if len(st.args) == 0 {
		st.sql.WriteString(st.table.insert(st.d))
	} else {
		st.sql.WriteString(", ")
	}
	for i, v := range values {
		sep, kind := ", ", ""
		if i == 0 {
			sep = "("
		}
		if i < len(headColumns) {
			kind = headColumns[i].kind
		} else {
			kind = st.table.columns[i-len(headColumns)].kind
		}
		v = change(v)
		if text, ok := v.(string); ok {
			st.bytes += len(text)
		}
		st.args = append(st.args, v)
		st.sql.WriteString(sep)
		st.sql.WriteString(st.d.placeholder(len(st.args), kind))
	}
	st.sql.WriteByte(')')
}

// Report is what Check found.
type Report struct {
	Server  string   `json:"server"`
	Schema  int      `json:"schema"`
	TLS     bool     `json:"tls"`
	Surplus []string `json:"surplus"` // rights that sending does not need
}

// Check enters the server, and finds out whether a parcel could be delivered, by
// an empty batch that is taken back.
func (s *DB) Check(ctx context.Context, a *Access) (r Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliverWithin)
	defer cancel()
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return r, fmt.Errorf("enter: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing is to stay
	ask := func(query string, args []any, to ...any) error {
		return tx.QueryRowContext(ctx, query, args...).Scan(to...)
	}
	r.TLS = !a.Plain && a.Socket == ""
	if err := ask("SELECT version()", nil, &r.Server); err != nil {
		return r, fmt.Errorf("ask for version: %w", err)
	}
	if err := checkSchema(ctx, tx); err != nil {
		return r, err
	}
	r.Schema = SchemaVersion
	if r.Surplus, err = s.d.surplus(ask); err != nil {
		return r, fmt.Errorf("read rights: %w", err)
	}
	probe := probeParcel(time.Now())
	if _, err := s.announce(ctx, tx, probe, func(v any) any { return v }); err != nil {
		return r, err
	}
	return r, s.putRows(ctx, tx, probe, func(v any) any { return v })
}
