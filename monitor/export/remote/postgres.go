package remote

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// dialWithin bounds making a connection.
const dialWithin = 10 * time.Second

func postgres() *dialect {
	kinds := map[string]string{"key": "CHAR(32)", "word": "VARCHAR(64)", "name": "VARCHAR(255)", "text": "TEXT",
		"big": "BIGINT", "int": "INTEGER", "flag": "BOOLEAN", "time": "TIMESTAMPTZ"}
	return &dialect{name: postgresDialect, quote: quoted(`"`), kinds: kinds,
		// The type is said: a column of which all values are NULL has none else.
		placeholder: func(n int, kind string) string { return fmt.Sprintf("$%d::%s", n, kinds[kind]) },
		open:        openPostgres, duplicate: postgresClass("23505"), data: postgresClass("22"), surplus: postgresSurplus,
		grant: func(privilege, table, account string) string {
			return fmt.Sprintf("GRANT %s ON %s TO %s;", privilege, table, quoted(`"`)(account))
		}}
}

func openPostgres(a *Access) (*sql.DB, error) {
	// Everything is set by hand: no environment, no files of a home directory.
	cfg, err := pgx.ParseConfig("host=localhost user=none sslmode=disable passfile=/nonexistent/none servicefile=/nonexistent/none")
	if err != nil {
		return nil, fmt.Errorf("prepare connection: %w", err)
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database = a.Host, a.Port, a.User, a.Password, a.Database
	if a.Socket != "" {
		cfg.Host = a.Socket
	}
	cfg.Fallbacks = nil
	cfg.ConnectTimeout = dialWithin
	cfg.RuntimeParams = map[string]string{"application_name": "snitch", "timezone": "UTC", "client_encoding": "UTF8"}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // nothing is kept by the server: poolers work
	if cfg.TLSConfig, err = a.tls(); err != nil {
		return nil, err
	}
	return stdlib.OpenDB(*cfg), nil
}

// postgresClass knows errors whose code begins with prefix.
func postgresClass(prefix string) func(error) bool {
	return func(err error) bool {
		var p *pgconn.PgError
		return errors.As(err, &p) && len(p.Code) >= len(prefix) && p.Code[:len(prefix)] == prefix
	}
}

func postgresSurplus(q querier) (out []string, err error) {
	for _, t := range append([]string{tableBatch}, rowTables()...) {
		for _, right := range []string{"SELECT", "UPDATE", "DELETE", "TRUNCATE"} {
			var has bool
			if err := q("SELECT has_table_privilege($1, $2)", []any{t, right}, &has); err != nil {
				return nil, err
			}
			if has {
				out = append(out, right+" on "+t)
			}
		}
	}
	return out, nil
}
