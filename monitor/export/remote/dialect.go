package remote

import (
	"database/sql"
	"fmt"
	"strings"
)

// Names of dialects.
const (
	postgresDialect = "postgres"
	mysqlDialect    = "mysql" // and MariaDB
)

// Dialects are the kinds of server that are known.
func Dialects() []string { return []string{postgresDialect, mysqlDialect} }

// dialect is what differs between servers.
type dialect struct {
	name  string
	quote func(identifier string) string
	kinds map[string]string // kind of column → type
	// placeholder is the n-th argument of a statement, from 1.
	placeholder func(n int, kind string) string
	tableEnd    string
	open        func(*Access) (*sql.DB, error)
	// duplicate reports whether err says that the key of a batch is there.
	duplicate func(err error) bool
	// data reports whether err is about the values of rows.
	data func(err error) bool
	// surplus lists rights on a table beyond what sending needs.
	surplus func(q querier) ([]string, error)
	grant   func(privilege, table, account string) string
}

func dialectOf(name string) (*dialect, error) {
	switch name {
	case postgresDialect:
		return postgres(), nil
	case mysqlDialect:
		return mariadb(), nil
	}
	return nil, fmt.Errorf("no server speaks %q: one of %s", name, strings.Join(Dialects(), ", "))
}

// quoted doubles the quotes of an identifier.
func quoted(quote string) func(string) string {
	return func(s string) string { return quote + strings.ReplaceAll(s, quote, quote+quote) + quote }
}
