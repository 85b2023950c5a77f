package remote

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// Bounds of one question. The rows of the server are what hosts said, also one
// that somebody took over.
const (
	readWithin = 2 * time.Minute
	readRows   = parcelRows // of the parcels that are asked for at once
	readKeys   = 200        // parcels that are asked for at once
	maxHosts   = 10_000
)

// arrival is a parcel that the server has.
type arrival struct {
	key, host string
	written   time.Time // by the clock of the host
	rows      int       // that the host says are in it
}

// hosts lists the senders in order. It leaps from one to the next in the index.
func (s *DB) hosts(ctx context.Context) (out []string, err error) {
	query := fmt.Sprintf("SELECT min(host) FROM %s WHERE host > %s", tableBatch, s.d.placeholder(1, "name"))
	for last := ""; len(out) < maxHosts; {
		var next sql.NullString
		if err := s.db.QueryRowContext(ctx, query, last).Scan(&next); err != nil {
			return nil, fmt.Errorf("list hosts: %w", err)
		}
		if !next.Valid {
			break
		}
		last = next.String
		out = append(out, last)
	}
	return out, nil
}

// arrivals lists at most limit parcels of a host behind a place in the order of
// (written, key).
func (s *DB) arrivals(ctx context.Context, host string, after time.Time, key string, limit int) (out []arrival, err error) {
	p := func(n int, kind string) string { return s.d.placeholder(n, kind) }
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf(`SELECT batch, written, row_count FROM %s
		WHERE host = %s AND written >= %s AND (written > %s OR batch > %s) ORDER BY written, batch LIMIT %d`,
		tableBatch, p(1, "name"), p(2, "time"), p(3, "time"), p(4, "key"), limit), host, after, after, key)
	if err != nil {
		return nil, fmt.Errorf("list parcels of %q: %w", host, err)
	}
	defer rows.Close()
	for rows.Next() {
		a := arrival{host: host} // as it was asked for: to MariaDB "a" and "a " are one
		var n int64
		if err := rows.Scan(&a.key, &a.written, &n); err != nil {
			return nil, fmt.Errorf("list parcels of %q: %w", host, err)
		}
		a.rows = int(min(max(n, 0), parcelRows))
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list parcels of %q: %w", host, err)
	}
	return out, nil
}

// rowsOf calls f with each row of t that is in the parcels, those of one parcel
// in their order. Rows beyond what a parcel said it has are left out.
func (s *DB) rowsOf(ctx context.Context, t *table, parcels []arrival, f func(key string, row any)) error {
	marks, args := make([]string, len(parcels)), make([]any, len(parcels))
	for i := range parcels {
		marks[i], args[i] = s.d.placeholder(i+1, "key"), parcels[i].key
	}
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf("SELECT r.batch, %s FROM %s r JOIN %s b ON b.batch = r.batch WHERE r.batch IN (%s) AND r.n >= 0 AND r.n < b.row_count AND r.n < %d ORDER BY r.batch, r.n",
		t.selected(s.d), t.name, tableBatch, strings.Join(marks, ", "), parcelRows), args...)
	if err != nil {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		key, row := "", t.blank()
		targets := t.targets(row)
		if err := rows.Scan(append([]any{&key}, targets...)...); err != nil {
			return fmt.Errorf("read %s: %w", t.name, err)
		}
		f(key, row)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", t.name, err)
	}
	return nil
}

// selected are the columns of t. Text is cut where a sender would have.
func (t *table) selected(d *dialect) string {
	out := make([]string, len(t.columns))
	for i, c := range t.columns {
		out[i] = "r." + d.quote(c.name)
		if c.kind == "text" {
			out[i] = fmt.Sprintf("left(%s, %d)", out[i], textBytes)
		}
	}
	return strings.Join(out, ", ")
}

// targets are where the columns of a row are read into.
func (t *table) targets(row any) []any {
	v := reflect.ValueOf(row).Elem()
	out := make([]any, len(t.columns))
	for i := range t.columns {
		out[i] = target{v.FieldByIndex(t.columns[i].field)}
	}
	return out
}

// target takes what a server has into a field. A number that does not fit ends at
// the field's bound: one odd row must not hide all others.
type target struct{ field reflect.Value }

// Scan implements sql.Scanner.
func (t target) Scan(v any) error {
	if v == nil {
		return nil
	}
	if at, ok := v.(time.Time); ok {
		if t.field.Type() != reflect.TypeFor[time.Time]() {
			return fmt.Errorf("a time is no %s", t.field.Kind())
		}
		t.field.Set(reflect.ValueOf(when(at)))
		return nil
	}
	switch t.field.Kind() {
	case reflect.String:
		var s sql.NullString
		if err := s.Scan(v); err != nil {
			return err
		}
		t.field.SetString(text(s.String))
	case reflect.Bool:
		var b sql.NullBool
		if err := b.Scan(v); err != nil {
			return err
		}
		t.field.SetBool(b.Bool)
	default:
		var n sql.NullInt64
		if err := n.Scan(v); err != nil {
			return err
		}
		return t.number(n.Int64)
	}
	return nil
}

func (t target) number(n int64) error {
	switch t.field.Kind() {
	case reflect.Int64:
		t.field.SetInt(n)
	case reflect.Uint32:
		t.field.SetUint(uint64(min(max(n, 0), math.MaxUint32)))
	case reflect.Uint16:
		t.field.SetUint(uint64(min(max(n, 0), math.MaxUint16)))
	default:
		return fmt.Errorf("a number is no %s", t.field.Kind())
	}
	return nil
}
