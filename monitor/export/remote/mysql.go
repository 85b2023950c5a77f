package remote

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Numbers of errors of MariaDB and MySQL.
const (
	mysqlDuplicate = 1062
	mysqlTooLong   = 1406
)

// mysqlData are errors about values: wrong text, number or time, too long.
func mysqlData() []uint16 { return []uint16{1264, 1265, 1292, 1366, mysqlTooLong, 3988} }

func mariadb() *dialect {
	return &dialect{name: mysqlDialect, quote: quoted("`"),
		kinds: map[string]string{"key": "CHAR(32) CHARACTER SET ascii COLLATE ascii_bin", "word": "VARCHAR(64)", "name": "VARCHAR(255)", "text": "TEXT",
			"big": "BIGINT", "int": "INTEGER", "flag": "BOOLEAN", "time": "DATETIME(6)"},
		placeholder: func(int, string) string { return "?" },
		// Without transactions a batch could be there in part.
		tableEnd: " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
		open:     openMySQL, duplicate: mysqlNumber(mysqlDuplicate), data: mysqlNumber(mysqlData()...), surplus: mysqlSurplus,
		grant: func(privilege, table, account string) string {
			return fmt.Sprintf("GRANT %s ON %s TO %s;", privilege, table, mysqlAccount(account))
		}}
}

// mysqlAccount is an account as statements name it: NAME, or NAME@HOST.
func mysqlAccount(account string) string {
	user, host, ok := strings.Cut(account, "@")
	if !ok {
		host = "%"
	}
	q := quoted("`")
	return q(user) + "@" + q(host)
}

func openMySQL(a *Access) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = a.User, a.Password, a.Database
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
	if a.Socket != "" {
		cfg.Net, cfg.Addr = "unix", a.Socket
	}
	cfg.Timeout = dialWithin
	cfg.InterpolateParams = true // one round trip
	cfg.ParseTime = true
	cfg.Logger = &mysql.NopLogger{}
	// What does not fit is an error, not half a value.
	cfg.Params = map[string]string{"sql_mode": "'STRICT_ALL_TABLES'", "time_zone": "'+00:00'"}
	var err error
	if cfg.TLS, err = a.tls(); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("prepare connection: %w", err)
	}
	return sql.OpenDB(connector), nil
}

func mysqlNumber(numbers ...uint16) func(error) bool {
	return func(err error) bool {
		var m *mysql.MySQLError
		return errors.As(err, &m) && slices.Contains(numbers, m.Number)
	}
}

// mysqlSurplus asks the server's own description of what this account may.
func mysqlSurplus(q querier) (out []string, err error) {
	var n int
	// An account sees only its own rights there.
	for _, view := range []string{"USER_PRIVILEGES", "SCHEMA_PRIVILEGES", "TABLE_PRIVILEGES"} {
		for _, right := range []string{"SELECT", "UPDATE", "DELETE", "DROP", "ALTER"} {
			where := "PRIVILEGE_TYPE = ?"
			if view == "TABLE_PRIVILEGES" {
				where += " AND TABLE_NAME LIKE 'snitch\\_%' AND TABLE_NAME <> '" + tableSchema + "'"
			}
			if err := q("SELECT count(*) FROM information_schema."+view+" WHERE "+where, []any{right}, &n); err != nil {
				return nil, err
			}
			if n > 0 {
				out = append(out, fmt.Sprintf("%s (%s)", right, strings.ToLower(strings.TrimSuffix(view, "_PRIVILEGES"))))
			}
		}
	}
	return out, nil
}
