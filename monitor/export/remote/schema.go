package remote

import (
	"fmt"
	"slices"
	"strings"
)

// SchemaOptions are who gets which rights; "" is nobody.
type SchemaOptions struct {
	Writer string // may add rows, and nothing else; of MariaDB NAME or NAME@HOST
	Reader string // may read
}

// Schema is the SQL that makes the tables in the database that is open, for
// `psql` or `mariadb`. It can be run again.
func Schema(dialectName string, opts SchemaOptions) (string, error) {
	d, err := dialectOf(dialectName)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-- snitch, schema %d, for %s: docs/remote-sql.md\n\n", SchemaVersion, d.name)
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (\n  version INTEGER NOT NULL PRIMARY KEY\n)%s;\n", tableSchema, d.tableEnd)
	fmt.Fprintf(&b, "INSERT INTO %[1]s (version) SELECT %[2]d%[3]s WHERE NOT EXISTS (SELECT 1 FROM %[1]s);\n\n", tableSchema, SchemaVersion, fromNothing(d))
	d.createTable(&b, tableBatch, batchColumns(), "batch", "host, written")
	for _, t := range tables() {
		d.createTable(&b, t.name, append(slices.Clone(headColumns), t.columns...), "batch, n", "recorded, host")
	}
	d.grants(&b, opts)
	return b.String(), nil
}

// fromNothing is what MySQL wants before WHERE; MariaDB and PostgreSQL do not.
func fromNothing(d *dialect) string {
	if d.name == mysqlDialect {
		return " FROM DUAL"
	}
	return ""
}

func batchColumns() []column {
	return []column{{name: "batch", kind: "key"}, {name: "host", kind: "name"}, {name: "written", kind: "time"}, {name: "row_count", kind: "int"}}
}

func (d *dialect) createTable(b *strings.Builder, name string, columns []column, key, index string) {
	fmt.Fprintf(b, "CREATE TABLE IF NOT EXISTS %s (\n", name)
	for i := range columns {
		null := " NOT NULL"
		if columns[i].kind == "time" && columns[i].name != "recorded" && columns[i].name != "written" {
			null = " NULL"
		}
		fmt.Fprintf(b, "  %s %s%s,\n", columns[i].name, d.kinds[columns[i].kind], null)
	}
	if d.name == mysqlDialect { // which makes no index that may be there
		fmt.Fprintf(b, "  KEY %s_time (%s),\n", name, index)
	}
	fmt.Fprintf(b, "  PRIMARY KEY (%s)\n)%s;\n", key, d.tableEnd)
	if d.name == postgresDialect {
		fmt.Fprintf(b, "CREATE INDEX IF NOT EXISTS %s_time ON %s (%s);\n", name, name, index)
	}
}

func (d *dialect) grants(b *strings.Builder, opts SchemaOptions) {
	all := append([]string{tableBatch}, rowTables()...)
	if opts.Writer != "" {
		fmt.Fprintf(b, "\n%s\n", d.grant("SELECT", tableSchema, opts.Writer))
		for _, t := range all {
			fmt.Fprintln(b, d.grant("INSERT", t, opts.Writer))
		}
	}
	if opts.Reader != "" {
		b.WriteByte('\n')
		for _, t := range append([]string{tableSchema}, all...) {
			fmt.Fprintln(b, d.grant("SELECT", t, opts.Reader))
		}
	}
}

func rowTables() []string {
	var out []string
	for _, t := range tables() {
		out = append(out, t.name)
	}
	return out
}
