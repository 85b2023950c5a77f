package remote

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]Address{
		"postgres://snitch@db.example.net/fleet":               {Dialect: "postgres", User: "snitch", Database: "fleet", Host: "db.example.net", Port: 5432},
		"postgresql://s%40x@[2001:db8::1]:99/f%23":             {Dialect: "postgres", User: "s@x", Database: "f#", Host: "2001:db8::1", Port: 99},
		"mariadb://snitch@db/fleet":                            {Dialect: "mysql", User: "snitch", Database: "fleet", Host: "db", Port: 3306},
		"mysql://snitch@/fleet?socket=/run/mysqld/mysqld.sock": {Dialect: "mysql", User: "snitch", Database: "fleet", Socket: "/run/mysqld/mysqld.sock"},
		"postgres://snitch@/fleet?socket=/run/postgresql":      {Dialect: "postgres", User: "snitch", Database: "fleet", Socket: "/run/postgresql", Port: 5432},
	} {
		got, err := ParseAddress(in)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	for in, says := range map[string]string{
		"": "write postgres://", "oracle://s@h/d": "write postgres://", "postgres://s:secret@h/d": "password", "postgres://h/d": "no user", "postgres://s@h": "no database",
		"postgres://s@h/a/b": "no database", "postgres://s@/d": "neither", "postgres://s@h/d?socket=/x": "no host beside", "postgres://s@/d?socket=x": "absolute",
		"postgres://s@h/d?sslmode=disable": `"sslmode"`, "postgres://s@h:0/d": "port", "postgres://s@h:99999/d": "port", "postgres://s@h/d#x": "fragment",
		"postgres://s@h/%00": "NUL", "postgres://%zz@h/d": "is no address", "postgres://s@h/d?%zz": "query",
	} {
		_, err := ParseAddress(in)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it to name %q", in, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows a secret: %v", in, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("postgres://snitch@db.example.net:5432/fleet?socket=/x")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err == nil && (a.User == "" || a.Database == "" || a.Host == "" && a.Socket == "" || a.Dialect == "") {
			t.Fatalf("%q is %+v", s, a)
		}
	})
}
