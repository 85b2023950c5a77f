package remote

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"snitch/monitor/export/remote/servertest"
	"snitch/monitor/store"
)

// within bounds one wait of these tests on a machine that is far too busy.
const within = 3 * time.Minute

// site is a database of its own on a real server, with accounts that have the
// documented rights.
type site struct {
	*servertest.Server
	t    *testing.T
	name string
	root *sql.DB
}

// eachServer runs f with a database on each kind of server.
func eachServer(t *testing.T, servers map[string]*servertest.Server, name string, f func(t *testing.T, s *site)) {
	for dialect, server := range servers {
		t.Run(name+"/"+dialect, func(t *testing.T) { f(t, newSite(t, server, name)) })
	}
}

func newSite(t *testing.T, server *servertest.Server, name string) *site {
	t.Helper()
	s := &site{Server: server, t: t, name: strings.ToLower(name)}
	s.Exec(t, "", "CREATE DATABASE "+s.name)
	if s.Dialect == servertest.Postgres {
		s.Exec(t, "", fmt.Sprintf("CREATE ROLE %s_writer LOGIN PASSWORD 'secret'", s.name))
	} else {
		s.Exec(t, "", fmt.Sprintf("CREATE USER `%s_writer`@`%%` IDENTIFIED BY 'secret'; CREATE USER `%s_writer`@localhost IDENTIFIED BY 'secret'", s.name, s.name))
	}
	s.root = s.open(s.access(s.admin(), "")).db
	return s
}

func (s *site) admin() string {
	if s.Dialect == servertest.Postgres {
		return "postgres"
	}
	return "root"
}

func (s *site) writer() *Access { return s.access(s.name+"_writer", "secret") }

func (s *site) access(user, password string) *Access {
	a := &Access{Address: Address{Dialect: s.Dialect, User: user, Database: s.name, Socket: s.Socket}, Password: password}
	if s.Dialect == servertest.Postgres {
		a.Port = s.Port
	}
	return a
}

// remote is the same by TCP and TLS.
func (s *site) remote(user string) *Access {
	return &Access{Address: Address{Dialect: s.Dialect, User: user, Database: s.name, Host: "localhost", Port: s.Port}, Password: "secret", CA: s.CA}
}

// schema makes the tables as documented.
func (s *site) schema() {
	s.t.Helper()
	for _, host := range s.accounts() {
		text, err := Schema(s.Dialect, SchemaOptions{Writer: s.name + "_writer" + host})
		if err != nil {
			s.t.Fatal(err)
		}
		s.Exec(s.t, s.name, text)
	}
}

// reader makes an account with the documented rights of one.
func (s *site) reader() {
	s.t.Helper()
	for _, host := range s.accounts() {
		account := s.name + "_reader"
		if s.Dialect == servertest.Postgres {
			s.Exec(s.t, "", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'secret'", account))
		} else if host == "" {
			s.Exec(s.t, "", fmt.Sprintf("CREATE USER `%[1]s`@`%%` IDENTIFIED BY 'secret'; CREATE USER `%[1]s`@localhost IDENTIFIED BY 'secret'", account))
		}
		text, err := Schema(s.Dialect, SchemaOptions{Reader: account + host})
		if err != nil {
			s.t.Fatal(err)
		}
		s.Exec(s.t, s.name, text)
	}
}

func (s *site) accounts() []string {
	if s.Dialect == servertest.Postgres {
		return []string{""}
	}
	return []string{"", "@localhost"} // one by TCP, one by the socket
}

func (s *site) open(a *Access) *DB {
	s.t.Helper()
	db, err := Open(a)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (s *site) number(query string) (n int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	if err := s.root.QueryRowContext(ctx, query).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (s *site) want(numbers map[string]int64) {
	s.t.Helper()
	for query, want := range numbers {
		if got := s.number(query); got != want {
			s.t.Errorf("%s = %d, want %d", query, got, want)
		}
	}
}

// parcels packs and unpacks, as on the way to the helper.
func parcels(t *testing.T, g *store.Growth) []*Parcel {
	t.Helper()
	var out []*Parcel
	for _, packed := range NewPacker("host-1")(g) {
		if len(packed.Data) > maxPacked {
			t.Fatalf("parcel of %d bytes", len(packed.Data))
		}
		p, err := unpack(packed.Key, packed.Data)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.rows) != packed.Rows {
			t.Fatalf("%d rows unpacked of %d", len(p.rows), packed.Rows)
		}
		out = append(out, p)
	}
	return out
}

func deliver(t *testing.T, db *DB, want bool, all ...*Parcel) {
	t.Helper()
	for _, p := range all {
		fresh, err := db.Deliver(t.Context(), p)
		if err != nil || fresh != want {
			t.Fatalf("delivered: fresh %v, want %v: %v", fresh, want, err)
		}
	}
}

// TestServers needs both servers; they start once.
func TestServers(t *testing.T) {
	if testing.Short() {
		t.Skip("short: starts PostgreSQL and MariaDB")
	}
	servers := map[string]*servertest.Server{}
	for _, dialect := range Dialects() {
		servers[dialect] = servertest.Start(t, dialect)
	}
	for _, c := range []struct {
		name string
		f    func(t *testing.T, s *site)
	}{
		{"delivers", testDelivers}, {"twice", testTwice}, {"rights", testRights}, {"missing", testMissingRights}, {"tables", testSchema},
		{"encrypted", testTLS}, {"foreign_text", testForeignText}, {"stream", testStream}, {"bounds", testFullOutbox},
		{"mirror", testMirror}, {"odd", testOddRows},
	} {
		eachServer(t, servers, c.name, c.f)
	}
}

// testDelivers: every row and byte is there, whatever programs call themselves.
func testDelivers(t *testing.T, s *site) {
	s.schema()
	s.schema() // again does no harm
	const n = 300
	all := parcels(t, testGrowth(n))
	if len(all) < 2 {
		t.Fatalf("%d rows made %d parcels", n, len(all))
	}
	deliver(t, s.open(s.writer()), true, all...)
	s.want(map[string]int64{
		"SELECT count(*) FROM snitch_batch":                                                            int64(len(all)),
		"SELECT sum(row_count) FROM snitch_batch":                                                      n + 1 + 3,
		"SELECT count(*) FROM snitch_connection":                                                       n + 1,
		"SELECT count(*) FROM snitch_connection WHERE first":                                           n + 1,
		"SELECT sum(sent) FROM snitch_connection WHERE id <= 300":                                      n * 10,
		"SELECT sum(received) FROM snitch_connection":                                                  n * 20,
		"SELECT sum(packets) FROM snitch_connection":                                                   n * 3,
		"SELECT max(sent) FROM snitch_connection":                                                      1<<63 - 1,
		"SELECT count(*) FROM snitch_connection WHERE opened IS NOT NULL AND uid = 4294967295":         n,
		"SELECT count(*) FROM snitch_connection WHERE host = 'host-1' AND raddr = '2001:db8::1'":       n + 0,
		"SELECT count(*) FROM snitch_connection WHERE laddr = 'fe80::1%eth0' AND lport = 1000":         n,
		"SELECT count(*) FROM snitch_connection WHERE matches = 'a,b' AND would = 'deny' AND run = 7":  n,
		"SELECT count(*) FROM snitch_connection WHERE parent_exe = '/bin/bash' AND ancestors <> ''":    n,
		"SELECT count(*) FROM snitch_connection WHERE cmdline LIKE '%DROP TABLE snitch_batch; --%'":    n,
		"SELECT count(*) FROM snitch_connection WHERE name = 'p\uFFFD\uFFFD' AND recorded IS NOT NULL": n,
		"SELECT count(*) FROM snitch_exec WHERE exe LIKE '/usr/bin/p%' AND at IS NOT NULL":             1,
		"SELECT count(*) FROM snitch_loss WHERE cause = 'hash' AND amount = 2":                         1,
		"SELECT count(*) FROM snitch_alert WHERE rule = 'r' AND action = 'deny' AND amount = 1":        1,
	})
	// A time keeps its microseconds, in UTC, whatever the server's zone is.
	query := "SELECT CAST(EXTRACT(EPOCH FROM min(at)) * 1000000 AS BIGINT) FROM snitch_exec"
	if s.Dialect == servertest.MariaDB {
		query = "SELECT CAST(timestampdiff(MICROSECOND, '1970-01-01', min(at)) AS SIGNED) FROM snitch_exec"
	}
	if got := s.number(query); got != base.UnixMicro() {
		t.Errorf("time came as %d, want %d", got, base.UnixMicro())
	}
}

// testTwice: what is delivered again, also by two at once, is there once.
func testTwice(t *testing.T, s *site) {
	s.schema()
	all := parcels(t, testGrowth(10))
	db := s.open(s.writer())
	deliver(t, db, true, all...)
	deliver(t, db, false, all...)
	again := parcels(t, testGrowth(10)) // another key: other rows
	var wg sync.WaitGroup
	fresh := make([]bool, 4)
	for i := range fresh {
		db := s.open(s.writer())
		wg.Go(func() {
			for try := range 5 {
				var err error
				if fresh[i], err = db.Deliver(t.Context(), again[0]); err == nil {
					return
				} else if try == 4 {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	first := 0
	for _, f := range fresh {
		if f {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d of 4 senders say that theirs was first", first)
	}
	s.want(map[string]int64{"SELECT count(*) FROM snitch_batch": 2, "SELECT count(*) FROM snitch_connection": 22})
}

// testRights: the documented grants suffice, and allow nothing else.
func testRights(t *testing.T, s *site) {
	s.schema()
	db := s.open(s.writer())
	deliver(t, db, true, parcels(t, testGrowth(3))...)
	r, err := db.Check(t.Context(), s.writer())
	if err != nil || len(r.Surplus) != 0 || r.Schema != SchemaVersion || r.Server == "" {
		t.Errorf("check: %+v, %v", r, err)
	}
	for _, statement := range []string{"SELECT count(*) FROM snitch_connection", "UPDATE snitch_connection SET host = 'x'", "DELETE FROM snitch_connection",
		"DELETE FROM snitch_batch", "SELECT host FROM snitch_batch", "TRUNCATE TABLE snitch_connection", "DROP TABLE snitch_connection", "UPDATE snitch_schema SET version = 9",
		"ALTER TABLE snitch_connection DROP COLUMN host"} {
		if _, err := db.db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("the writer may %s", statement)
		}
	}
	for _, host := range s.accounts() {
		s.Exec(t, s.name, s.d().grant("DELETE", "snitch_connection", s.name+"_writer"+host))
	}
	r, err = s.open(s.writer()).Check(t.Context(), s.writer())
	if err != nil || len(r.Surplus) == 0 || !strings.Contains(strings.Join(r.Surplus, " "), "DELETE") {
		t.Errorf("check of an account that may delete: %+v, %v", r, err)
	}
	s.want(map[string]int64{"SELECT count(*) FROM snitch_connection": 4, "SELECT count(*) FROM snitch_batch": 1})
}

func (s *site) d() *dialect {
	d, err := dialectOf(s.Dialect)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// testMissingRights: a parcel that meets a missing right is not there in part,
// and arrives once the right is given.
func testMissingRights(t *testing.T, s *site) {
	s.schema()
	revoke, give := "REVOKE INSERT ON snitch_loss FROM ", "TO "
	change := func(verb string) {
		for _, host := range s.accounts() {
			grant := s.d().grant("INSERT", "snitch_loss", s.name+"_writer"+host)
			if verb == "revoke" {
				_, account, _ := strings.Cut(grant, give)
				grant = revoke + account
			}
			s.Exec(t, s.name, grant)
		}
	}
	change("revoke")
	db := s.open(s.writer())
	p := parcels(t, testGrowth(5))[0]
	if _, err := db.Deliver(t.Context(), p); err == nil {
		t.Fatal("delivered without the right to")
	}
	if _, err := db.Check(t.Context(), s.writer()); err == nil {
		t.Error("check finds no fault")
	}
	s.want(map[string]int64{"SELECT count(*) FROM snitch_connection": 0, "SELECT count(*) FROM snitch_batch": 0})
	change("give")
	deliver(t, s.open(s.writer()), true, p)
	s.want(map[string]int64{"SELECT count(*) FROM snitch_connection": 6, "SELECT count(*) FROM snitch_batch": 1, "SELECT count(*) FROM snitch_loss": 1})

	wrong := s.writer()
	wrong.User = "nobody_here"
	if _, err := s.open(wrong).Deliver(t.Context(), p); err == nil {
		t.Error("an account that is not there delivers")
	}
}

// testSchema: other tables than those of this build are refused, and nothing is
// lost by it.
func testSchema(t *testing.T, s *site) {
	p := parcels(t, testGrowth(2))[0]
	db := s.open(s.writer())
	if _, err := db.Deliver(t.Context(), p); err == nil {
		t.Fatal("delivered without tables")
	}
	s.schema()
	s.Exec(t, s.name, "UPDATE snitch_schema SET version = 2")
	if _, err := db.Deliver(t.Context(), p); !errors.Is(err, ErrSchema) {
		t.Errorf("schema 2: %v", err)
	}
	s.Exec(t, s.name, "DELETE FROM snitch_schema")
	if _, err := db.Deliver(t.Context(), p); !errors.Is(err, ErrSchema) {
		t.Errorf("no schema: %v", err)
	}
	s.Exec(t, s.name, "INSERT INTO snitch_schema (version) VALUES (1)")
	s.Exec(t, s.name, "ALTER TABLE snitch_connection DROP COLUMN country")
	if _, err := db.Deliver(t.Context(), p); err == nil {
		t.Error("delivered into a table that lacks a column")
	}
	s.want(map[string]int64{"SELECT count(*) FROM snitch_connection": 0, "SELECT count(*) FROM snitch_batch": 0})
	s.Exec(t, s.name, "ALTER TABLE snitch_connection ADD COLUMN country VARCHAR(64) NOT NULL DEFAULT ''")
	deliver(t, db, true, p)
	s.want(map[string]int64{"SELECT count(*) FROM snitch_connection": 3})
}

// testForeignText: a database whose character set lacks most of what programs
// write takes the rows all the same.
func testForeignText(t *testing.T, s *site) {
	if s.Dialect == servertest.Postgres {
		s.name += "_latin"
		s.Exec(t, "", "CREATE DATABASE "+s.name+" ENCODING LATIN1 TEMPLATE template0")
		s.Exec(t, "", fmt.Sprintf("CREATE ROLE %s_writer LOGIN PASSWORD 'secret'", s.name))
		s.root = s.open(s.access(s.admin(), "")).db
	}
	s.schema()
	if s.Dialect == servertest.MariaDB {
		s.Exec(t, s.name, "ALTER TABLE snitch_connection CONVERT TO CHARACTER SET latin1; ALTER TABLE snitch_exec CONVERT TO CHARACTER SET latin1")
	}
	all := parcels(t, testGrowth(300))
	deliver(t, s.open(s.writer()), true, all...)
	s.want(map[string]int64{"SELECT count(*) FROM snitch_connection": 301, "SELECT sum(received) FROM snitch_connection": 300 * 20,
		"SELECT count(*) FROM snitch_connection WHERE cmdline LIKE 'curl?%'": 300})
}
