package picosnitch

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"snitch/cmd/internal/config"
)

var update = flag.Bool("update", false, "write docs/picosnitch.md")

const hash = "ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD"

// The files as picosnitch's documentation has them, with values that are not the
// defaults.
const (
	oldFile = `{
  "Bandwidth monitor": true,
  "DB retention (days)": 90,
  "DB sql log": true,
  "DB sql server": {},
  "DB text log": true,
  "DB write limit (seconds)": 30,
  "Dash scroll zoom": true,
  "Dash theme": "",
  "Desktop notifications": false,
  "Every exe (not just conns)": true,
  "GeoIP lookup": true,
  "Log addresses": false,
  "Log commands": false,
  "Log ignore": [80, "org.example.www", "192.168.0.0/16", "10.0.0.1", "` + hash + `"],
  "Perf ring buffer (pages)": 256,
  "Set RLIMIT_NOFILE": null,
  "VT API key": "k0",
  "VT file upload": true,
  "VT request limit (seconds)": 20
}`
	newFile = `
[database]
enabled = true
retention_days = 90
write_limit_seconds = 30
text_log = true
[database.remote]
[data]
owner = "root"
group = "root"
mode = "0640"
[log]
addresses = false
commands = false
ports = true
ignore_ports = [80]
ignore_domains = ["org.example.www"]
ignore_ips = ["192.168.0.0/16", "10.0.0.1"]
ignore_sha256 = ["` + hash + `"]
[desktop]
user = ""
notifications = false
geoip_lookup = true
[monitoring]
every_exe = true
perf_ring_buffer_pages = 256
[virustotal]
api_key = "k0"
file_upload = true
request_limit_seconds = 20
`
)

// TestConvert: both formats say the same.
func TestConvert(t *testing.T) {
	want := config.Default()
	for path, v := range map[string]string{"retention.age": "90d", "interval": "30s", "records.connections": "csv", "notify.desktop": "false", "every_exec": "true",
		"log.addresses": "false", "log.commands": "false", "log.ignore.ports": "80", "log.ignore.domains": "www.example.org", "log.ignore.networks": "192.168.0.0/16, 10.0.0.1",
		"log.ignore.sha256": hash, "virustotal.key": "/k", "virustotal.upload": "true", "virustotal.interval": "20s"} {
		if err := want.Set(path, v); err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range map[string]string{"JSON": oldFile, "TOML": newFile, "first versions": `{"Config": ` + oldFile + `, "Names": {}}`} {
		got, err := Convert([]byte(file), "/k")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.Config != want || len(got.Secrets) != 1 || got.Secrets[0].Text != "k0" || len(got.Notes) != 0 {
			t.Errorf("%s: secrets %q, notes %v\n%s", name, got.Secrets, got.Notes, got.Config.YAML())
		}
		if strings.Contains(got.Config.YAML(), "k0") {
			t.Errorf("%s: the key is in the configuration", name)
		}
	}
}

// TestConvertSays: what is not as it was, and what is wrong, is said, and nothing
// else is lost for it.
func TestConvertSays(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"unknown":        {`{"DB colour": 1}`, "DB colour: is no setting of picosnitch"},
		"unknown TOML":   {"[log]\ncolour = 1\n", "log.colour: is no setting"},
		"no section":     {"colour = 1\n", "colour: is no setting"},
		"remote":         {"[database.remote]\nclient = \"mariadb\"\npassword = \"pw\"\n", "database.remote: "},
		"database off":   {`{"DB sql log": false}`, "shortest `retention.age`"},
		"no number":      {`{"DB retention (days)": "x"}`, `DB retention (days): "x" is no number that makes sense: the default stays`},
		"beyond":         {`{"DB write limit (seconds)": 7200}`, "interval: 7200s is not between 100ms and 1h: the default stays"},
		"process name":   {`{"Log ignore": ["firefox", 0, [1], "a..b"]}`, `"firefox" is neither a network nor a domain: not imported`},
		"owner":          {"[data]\nowner = \"joe\"\n", `data.owner: "joe": files belong to root`},
		"user":           {"[desktop]\nuser = \"joe\"\n", "everybody who is logged in"},
		"no bool":        {`{"Log commands": "no"}`, `"no" is neither true nor false`},
		"no list":        {"[log]\nignore_ports = 80\n", "is no list"},
		"key":            {`{"VT API key": "a b"}`, "it is no key"},
		"countries":      {`{"GeoIP lookup": false}`, "countries are always looked up"},
		"list in a word": {"[log]\nignore_domains = [\"a.b, c.d\"]\n", "is no single value"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Convert([]byte(c.in), "/k")
			if err != nil {
				t.Fatal(err)
			}
			var notes []string
			for _, n := range got.Notes {
				notes = append(notes, n.Setting+": "+n.Text)
			}
			if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, c.want) }) {
				t.Errorf("got %q, want %q", notes, c.want)
			}
		})
	}
	for _, bad := range []string{"{", `{} {}`, "[log", "a = \n", strings.Repeat(" ", MaxConfig+1)} {
		if _, err := Convert([]byte(bad), "/k"); err == nil {
			t.Errorf("%.20q was read", bad)
		}
	}
}

// TestConvertRemote: where the server is is taken over, of each client, whole or not
// at all.
func TestConvertRemote(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"mariadb":     {`{"DB sql server": {"client": "mariadb", "host": "db.example.net", "user": "pico", "password": "pw", "database": "log", "table_name": "x"}}`, "mariadb://pico@db.example.net/log /pw  "},
		"pymysql":     {"[database.remote]\nclient = \"pymysql\"\nhost = \"2001:db8::1\"\nuser = \"p@x\"\ndb = \"log\"\nport = 3307\nssl_ca = \"/ca.pem\"\n", "mariadb://p%40x@[2001:db8::1]:3307/log  /ca.pem "},
		"v6":          {`{"DB sql server": {"client": "mysql", "host": "2001:db8::1", "user": "p", "database": "log"}}`, "mariadb://p@[2001:db8::1]/log   "},
		"psycopg":     {`{"DB sql server": {"client": "psycopg", "host": "h", "user": "p", "dbname": "log", "password": "pw", "sslcert": "/c", "sslkey": "/k"}}`, "postgres://p@h/log /pw  /c"},
		"socket":      {`{"DB sql server": {"client": "mariadb", "unix_socket": "/run/mysqld/mysqld.sock", "user": "p", "database": "log"}}`, "mariadb://p@/log?socket=%2Frun%2Fmysqld%2Fmysqld.sock   "},
		"no client":   {`{"DB sql server": {"host": "h", "user": "p", "database": "log", "password": "pw"}}`, "   "},
		"no database": {`{"DB sql server": {"client": "mariadb", "host": "h", "user": "p", "password": "pw"}}`, "   "},
		"bad CA":      {`{"DB sql server": {"client": "mariadb", "host": "h", "user": "p", "database": "log", "password": "pw", "ssl_ca": "ca.pem"}}`, "   "},
		"bad secret":  {`{"DB sql server": {"client": "mariadb", "host": "h", "user": "p", "database": "log", "password": "p\nw"}}`, "   "},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Convert([]byte(c.in), "/k")
			if err != nil {
				t.Fatal(err)
			}
			password := ""
			for _, s := range got.Secrets {
				if s.File != "/remote-password" || s.File != got.Config.Remote.PasswordFile {
					t.Errorf("the password goes to %s, the configuration says %q", s.File, got.Config.Remote.PasswordFile)
				}
				password = "/" + s.Text
			}
			r := got.Config.Remote
			if have := strings.Join([]string{r.URL, password, r.CAFile, r.CertFile}, " "); have != c.want || len(got.Notes) == 0 {
				t.Errorf("got %q, want %q; notes %v", have, c.want, got.Notes)
			}
		})
	}
}

// TestConvertRemoteSecret: a password is in no note.
func TestConvertRemoteSecret(t *testing.T) {
	for _, in := range []string{"[database.remote]\nclient = \"mariadb\"\npassword = \"hunter2\"\n", `{"DB sql server": {"password": "hunter2"}, "VT API key": "hunter2 x"}`} {
		got, err := Convert([]byte(in), "/k")
		if err != nil || len(got.Notes) == 0 {
			t.Fatal(got, err)
		}
		for _, n := range got.Notes {
			if strings.Contains(n.Text, "hunter2") {
				t.Errorf("the password is in a note: %v", n)
			}
		}
	}
}

func TestDocs(t *testing.T) {
	file := filepath.Join("..", "..", "..", "..", "docs", "picosnitch.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(b), "<!-- settings -->\n")
	_, after, ok := strings.Cut(rest, "<!-- end -->")
	if !ok {
		t.Fatal("no place for the table")
	}
	want := before + "<!-- settings -->\n" + Markdown() + "<!-- end -->" + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(b) {
		t.Error("docs/picosnitch.md is not what the list of settings says (go test ./cmd/internal/config/picosnitch -run TestDocs -update)")
	}
}

// FuzzConvert: whatever the file holds, what comes out is a configuration that is
// read as it is written.
func FuzzConvert(f *testing.F) {
	f.Add([]byte(oldFile))
	f.Add([]byte(newFile))
	f.Add([]byte(`{"Log ignore": [1e99, -1, "::/0", "a.b"], "DB retention (days)": 1e-9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Convert(b, "/k")
		if err != nil {
			return
		}
		text := got.Config.YAML()
		again, err := config.Parse("again", []byte(text))
		if err != nil || again != got.Config {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}
