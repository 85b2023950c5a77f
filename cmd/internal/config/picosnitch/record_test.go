package picosnitch

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"snitch/monitor/event"
)

const digestA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// The tables as picosnitch's documentation has them.
const versionFour = `PRAGMA user_version = 4;
CREATE TABLE executables (id INTEGER PRIMARY KEY, exe TEXT NOT NULL, name TEXT NOT NULL, cmdline TEXT NOT NULL, sha256 TEXT NOT NULL, UNIQUE(exe, name, cmdline, sha256)) STRICT;
CREATE TABLE domains (id INTEGER PRIMARY KEY, domain TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE addresses (id INTEGER PRIMARY KEY, addr TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE connections (contime INTEGER NOT NULL, send INTEGER NOT NULL, recv INTEGER NOT NULL, events INTEGER NOT NULL,
 exe_id INTEGER NOT NULL REFERENCES executables(id), pexe_id INTEGER NOT NULL REFERENCES executables(id), gpexe_id INTEGER NOT NULL REFERENCES executables(id),
 uid INTEGER NOT NULL, family INTEGER NOT NULL, protocol INTEGER NOT NULL, lport INTEGER NOT NULL, rport INTEGER NOT NULL,
 laddr_id INTEGER NOT NULL REFERENCES addresses(id), raddr_id INTEGER NOT NULL REFERENCES addresses(id), domain_id INTEGER NOT NULL REFERENCES domains(id), netns INTEGER NOT NULL) STRICT;
INSERT INTO executables VALUES (1, '/usr/bin/curl', 'curl', 'curl x', '` + digestA + `'), (2, '/bin/sh', 'sh', 'sh', 'error'), (3, '', '', '', '');
INSERT INTO domains VALUES (1, 'org.example.www'); INSERT INTO addresses VALUES (1, '192.0.2.7'), (2, '198.51.100.1'), (3, '');
INSERT INTO connections VALUES (1700000010, 5, 6, 2, 1, 2, 3, 1000, 2, 6, 40000, 443, 1, 2, 1, 7), (1700000000, 1, 2, 3, 2, 3, 3, 0, 0, 0, 0, -1, 3, 3, 1, 0);`

const versionThree = `PRAGMA user_version = 3;
CREATE TABLE connections (exe text, name text, cmdline text, sha256 text, contime text, domain text, raddr text, rport integer, uid integer,
 pexe text, pname text, pcmdline text, psha256 text, conns integer, send integer, recv integer);
INSERT INTO connections VALUES ('/usr/bin/curl', 'curl', 'curl x', '` + digestA + `', '1700000010', 'org.example.www', '198.51.100.1', 443, 1000, '/bin/sh', 'sh', 'sh', 'error', 2, 5, 6),
 ('/bin/sh', 'sh', 'sh', 'error', '1700000000', '', '', -1, 'root', '', '', '', '', 3, 1, 2);`

func database(t *testing.T, statements string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pico snitch?#.db")
	db, err := sql.Open("sqlite", filepath.Join(filepath.Dir(file), "plain.db"))
	if err == nil {
		_, err = db.Exec(statements)
	}
	if err := errors.Join(err, db.Close(), os.Rename(filepath.Join(filepath.Dir(file), "plain.db"), file)); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDatabase: both versions give the same rows, oldest first.
func TestDatabase(t *testing.T) {
	for name, statements := range map[string]string{"3": versionThree, "4": versionFour} {
		t.Run(name, func(t *testing.T) {
			var rows []Row
			if err := Database(t.Context(), database(t, statements), func(r Row) error { rows = append(rows, r); return nil }); err != nil {
				t.Fatal(err)
			}
			if len(rows) != 2 || !rows[0].Exec || rows[1].Exec {
				t.Fatalf("%+v", rows)
			}
			c := rows[1].Connection
			p := c.Process
			if c.Opened.Unix() != 1700000010 || c.Sent != 5 || c.Received != 6 || c.Packets != 2 || c.UID != 1000 || c.Remote.String() != "198.51.100.1:443" || c.Family != event.AFInet || c.Name.Domain != "www.example.org" {
				t.Errorf("%+v", c)
			}
			if p.Executable.Path != "/usr/bin/curl" || p.Executable.SHA256.String() != digestA || p.Cmdline() != "curl x" || p.Name != "curl" {
				t.Errorf("%+v", p)
			}
			if q := p.Parent; q == nil || q.Executable.Path != "/bin/sh" || !q.Executable.SHA256.IsZero() || q.Parent != nil {
				t.Errorf("parent %+v", q)
			}
			if x := rows[0].Connection; x.Process.Executable.Path != "/bin/sh" || x.UID != 0 {
				t.Errorf("%+v", x)
			}
		})
	}
}

// TestDatabaseRefuses: what is another database, or none, is refused and not made.
func TestDatabaseRefuses(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.db")
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("SQLite? no ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{none, garbage, database(t, "CREATE TABLE x (y)"), database(t, "CREATE TABLE connections (a, b)")} {
		err := Database(context.Background(), file, func(Row) error { t.Error("a row"); return nil })
		if !errors.Is(err, ErrNoDatabase) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("it was made")
	}
}

// TestKnown: both lists give programs with their digests.
func TestKnown(t *testing.T) {
	for name, in := range map[string]string{
		"record.json": `{"Executables": {"/usr/bin/curl": ["curl"], "/bin/sh": ["sh", "dash"]}, "Names": {"curl": ["/usr/bin/curl"]}, "Parent Executables": {"/bin/sh": ["sh"]}, "Parent Names": {},
			"SHA256": {"/usr/bin/curl": {"` + digestA + `": "harmless"}, "/bin/sh": {"!hash error": ""}}}`,
		"state.json": `{"executables": {"/usr/bin/curl": {"` + digestA + `": 1}, "/bin/sh": []}, "version": 1}`,
	} {
		got, err := Known([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b Program) int { return strings.Compare(a.Exe, b.Exe) })
		want, _ := event.ParseDigest(digestA)
		if !slices.Equal(got, []Program{{Exe: "/bin/sh"}, {"/usr/bin/curl", want}}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, bad := range []string{"", "[]", "{} {}", `{"a":` + strings.Repeat(`{"b":`, 20) + "1" + strings.Repeat("}", 21)} {
		if got, err := Known([]byte(bad)); err == nil {
			t.Errorf("%.30q gave %v", bad, got)
		}
	}
}

// FuzzKnown: whatever is in the list, programs have clean absolute paths.
func FuzzKnown(f *testing.F) {
	f.Add([]byte(`{"SHA256": {"/a": {"` + digestA + `": ""}, "/../b": [], "c": ["/d"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		programs, err := Known(b)
		if err != nil {
			return
		}
		for _, p := range programs {
			if !filepath.IsAbs(p.Exe) || filepath.Clean(p.Exe) != p.Exe || strings.ContainsRune(p.Exe, 0) {
				t.Fatalf("%q", p.Exe)
			}
		}
	})
}

// FuzzDatabase: a damaged database is an error, or rows.
func FuzzDatabase(f *testing.F) {
	f.Add("org.example", "1", "-1", digestA)
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		r := reader{processes: map[string]*event.Process{}}
		row := r.row([]any{a, b, c, d, int64(-1), 1e300, nil, []byte(a), b, c, d, a, b, a, b, c, d, b, a, d, c, c, d, a, b})
		if row.Connection.Opened.Unix() < 0 || row.Connection.Process == nil && a+b != "" {
			t.Fatalf("%+v", row)
		}
	})
}
