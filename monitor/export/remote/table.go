package remote

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// SchemaVersion is the one that this build writes.
const SchemaVersion = 1

// Names of the tables. All begin alike: they may share a database with others.
const (
	tableSchema = "snitch_schema"
	tableBatch  = "snitch_batch"
)

// column is one column of a table of rows.
type column struct {
	name, kind string
	field      []int // of the row's type
}

// table is one table of rows; batch and n come before its columns.
type table struct {
	name    string
	letter  byte // that begins its lines in a parcel
	columns []column
	blank   func() any
}

// headColumns begin every row: the parcel, the row's number in it, the host and
// the time when the host wrote it.
var headColumns = []column{{name: "batch", kind: "key"}, {name: "n", kind: "int"}, {name: "host", kind: "name"}, {name: "recorded", kind: "time"}}

// tables lists every table of rows.
func tables() []table {
	return []table{
		{"snitch_connection", 'c', columnsOf(connection{}), func() any { return new(connection) }},
		{"snitch_exec", 'e', columnsOf(execution{}), func() any { return new(execution) }},
		{"snitch_loss", 'l', columnsOf(loss{}), func() any { return new(loss) }},
		{"snitch_alert", 'a', columnsOf(alert{}), func() any { return new(alert) }},
	}
}

func columnsOf(row any) []column { return appendColumns(nil, reflect.TypeOf(row), nil) }

func appendColumns(out []column, t reflect.Type, path []int) []column {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(path[:len(path):len(path)], i)
		if f.Anonymous {
			out = appendColumns(out, f.Type, at)
			continue
		}
		col, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, column{name: col, kind: f.Tag.Get("sql"), field: at})
	}
	return out
}

// values are the columns of a row, as the drivers take them.
func (t *table) values(row any) []any {
	v := reflect.ValueOf(row).Elem()
	out := make([]any, len(t.columns))
	for i := range t.columns {
		out[i] = valueOf(v.FieldByIndex(t.columns[i].field))
	}
	return out
}

func valueOf(f reflect.Value) any {
	switch f.Kind() {
	case reflect.String:
		return f.String()
	case reflect.Bool:
		return f.Bool()
	case reflect.Int64:
		return f.Int()
	case reflect.Uint16, reflect.Uint32:
		return int64(f.Uint())
	}
	t, ok := reflect.TypeAssert[time.Time](f)
	if !ok || t.IsZero() {
		return nil
	}
	return t
}

// insert is the head of a statement that writes rows of t.
func (t *table) insert(d *dialect) string {
	names := make([]string, 0, len(headColumns)+len(t.columns))
	for _, list := range [][]column{headColumns, t.columns} {
		for i := range list {
			names = append(names, d.quote(list[i].name))
		}
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES ", t.name, strings.Join(names, ", "))
}
