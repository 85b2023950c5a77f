package importer

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/table"
)

var update = flag.Bool("update", false, "write the goldens")

// sources reads the files of a directory below testdata.
func sources(t testing.TB, pattern string) []Source {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	var out []Source
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Source{Name: filepath.Base(name), Data: b})
	}
	return out
}

// TestGolden imports examples of every documented key and holds the files that
// come of it against goldens, which people read.
func TestGolden(t *testing.T) {
	for _, test := range []struct {
		golden, files string
		read          func([]Source) (*Result, error)
	}{{"opensnitch.golden.yaml", "opensnitch/*.json", OpenSnitch}, {"littlesnitch.golden.yaml", "littlesnitch/*.lsrules", LittleSnitch}} {
		t.Run(test.golden, func(t *testing.T) {
			res, err := test.read(sources(t, test.files))
			if err != nil {
				t.Fatal(err)
			}
			got, err := res.YAML()
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", test.golden)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(got), string(want)); d != "" {
				t.Errorf("%s, -got +want:\n%s", golden, d)
			}
			reread(t, res, got)
		})
	}
}

// reread wants the file to load, and to hold the rules that were imported.
func reread(t testing.TB, res *Result, text []byte) *rule.Set {
	t.Helper()
	l, err := rule.Parse("imported.yaml", text)
	if err != nil {
		t.Fatalf("the import does not load: %v\n%s", err, text)
	}
	for i := range res.Items {
		want := res.Items[i].Rule
		if want == nil {
			continue
		}
		got := l.Set.Rule(want.ID)
		if got == nil {
			t.Fatalf("rule %s is gone\n%s", want.ID, text)
		}
		if got.Action != want.Action || got.Mode != want.Mode {
			t.Errorf("rule %s reads back as %s %s, want %s %s", want.ID, got.Action, got.Mode, want.Action, want.Mode)
		}
		if d := cmp.Diff(got.Match, want.Match, cmp.Comparer(func(a, b rule.Host) bool { return a == b })); d != "" {
			t.Errorf("rule %s, -read back +imported:\n%s", want.ID, d)
		}
	}
	return l.Set
}

// open imports one rule of OpenSnitch.
func open(t *testing.T, text string) Item {
	t.Helper()
	res, err := OpenSnitch([]Source{{"r.json", []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return res.Items[0]
}

// TestOpenSnitchRefuses: what cannot be said is never left out in silence.
func TestOpenSnitchRefuses(t *testing.T) {
	for _, test := range []struct{ rule, why string }{
		{`{"enabled": false, "action": "allow", "operator": {"type": "simple", "operand": "true"}}`, "disabled"},
		{`{"action": "allow", "duration": "12h", "operator": {"type": "simple", "operand": "true"}}`, "temporary"},
		{`{"action": "drop", "operator": {"type": "simple", "operand": "true"}}`, `action "drop"`},
		{`{"action": "deny", "operator": {"type": "simple", "operand": "process.id", "data": "12"}}`, "process.id"},
		{`{"action": "deny", "operator": {"type": "simple", "operand": "process.env.LD_PRELOAD", "data": "x"}}`, "environments"},
		{`{"action": "deny", "operator": {"type": "simple", "operand": "process.hash.md5", "data": "d41d8cd98f00b204e9800998ecf8427e"}}`, "SHA-256 only"},
		{`{"action": "deny", "operator": {"type": "simple", "operand": "iface.out", "data": "tun0"}}`, "interfaces"},
		{`{"action": "deny", "operator": {"type": "lists", "operand": "lists.domains", "data": "/etc/shadow"}}`, "copy its files"},
		{`{"action": "deny", "operator": {"type": "lists", "operand": "lists.domains_regexp", "data": "/x"}}`, "no regular expressions"},
		{`{"action": "deny", "operator": {"type": "lists", "operand": "lists.hash.md5", "data": "/x"}}`, "SHA-256 only"},
		{`{"action": "deny", "operator": {"type": "simple", "operand": "dest.ip", "data": "1.2.3.4", "not": true}}`, `the key "not" of an operator`},
		{`{"action": "deny", "operator": {"type": "list", "operand": "list", "list": [{"type": "simple", "operand": "dest.ip", "data": "1.2.3.4", "unless": "x"}]}}`, `the key "unless" of an operator`},
		{`{"action": "deny", "operator": {"type": "simple", "operand": "dest.planet", "data": "mars"}}`, `operand "dest.planet"`},
		{`{"action": "deny", "operator": {"type": "maybe", "operand": "dest.ip", "data": "1.2.3.4"}}`, `type "maybe"`},
		{`{"action": "deny", "operator": {"type": "regexp", "operand": "dest.host", "data": "^(a|b)+$"}}`, "no list of patterns"},
		{`{"action": "deny", "operator": {"type": "regexp", "operand": "dest.host", "data": "("}}`, "does not parse"},
		{`{"action": "deny", "operator": {"type": "simple", "operand": "dest.port", "data": "70000"}}`, "no port"},
		{`{"action": "deny", "operator": {"type": "network", "operand": "dest.network", "data": "INTRANET"}}`, "no address"},
		{`{"action": "allow", "operator": {"type": "simple", "operand": "process.path", "data": ""}}`, "compared with nothing"},
		{`{"action": "allow", "operator": {"type": "regexp", "operand": "process.path", "data": ".*"}}`, "every program"},
		{`{"action": "allow", "operator": {"type": "list", "operand": "list", "list": []}}`, "empty"},
		{`{"action": "allow", "operator": {"type": "list", "list": [{"type": "simple", "operand": "dest.ip", "data": "10.0.0.1"}, {"type": "simple", "operand": "dest.ip", "data": "10.0.0.2"}]}}`, "two conditions"},
	} {
		item := open(t, test.rule)
		if item.Rule != nil || !strings.Contains(strings.Join(item.Notes, "; "), test.why) {
			t.Errorf("%s: rule %v, notes %q, want none because of %q", test.rule, item.Rule, item.Notes, test.why)
		}
	}
}

// TestLittleSnitchRefuses does so for the other product.
func TestLittleSnitchRefuses(t *testing.T) {
	for _, test := range []struct{ rule, why string }{
		{`{"action": "allow", "disabled": true}`, "disabled"},
		{`{"action": "allow", "process": "identifier:ABC/com.example.app"}`, "no absolute path"},
		{`{"action": "allow", "process": "any", "remote": "dns-servers"}`, "dns-servers"},
		{`{"action": "allow", "direction": "both"}`, "direction"},
		{`{"action": "allow", "ports": "http"}`, "no port"},
		{`{"action": "allow", "protocol": "gopher"}`, "protocol"},
		{`{"action": "allow", "remote-addresses": "10.0.0.9-10.0.0.1"}`, "no address"},
		{`{"action": "allow", "remote-hosts": []}`, "empty"},
		{`{"action": "allow", "remote-hosts": "a b"}`, "no host name"},
		{`{"action": "allow", "owner": "me"}`, "name the user"},
		{`{"action": "allow", "phase-of-moon": "full"}`, "may be a condition"},
	} {
		res, err := LittleSnitch([]Source{{"g.lsrules", []byte(`{"name": "g", "rules": [` + test.rule + `]}`)}})
		if err != nil {
			t.Fatalf("%s: %v", test.rule, err)
		}
		if item := res.Items[0]; item.Rule != nil || !strings.Contains(strings.Join(item.Notes, "; "), test.why) {
			t.Errorf("%s: rule %v, notes %q, want none because of %q", test.rule, item.Rule, item.Notes, test.why)
		}
	}
}

// TestFaultsHavePlaces: what is no rule file is refused whole.
func TestFaultsHavePlaces(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "r.json:1:1: the file ends"},
		{"{\n  \"name\": }", "r.json:2:11: invalid character"},
		{"{\"name\":\n 7}", "r.json:2:"},
		{"{}\n{}", "r.json:1:3: something stands behind"},
		{strings.Repeat("[", 100000), "r.json:1:"},
	} {
		_, err := OpenSnitch([]Source{{"r.json", []byte(test.text)}})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%.20q: %v, want %s…", test.text, err, test.want)
		}
	}
	if _, err := LittleSnitch([]Source{{"big", make([]byte, MaxFile+1)}}); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a large file: %v", err)
	}
}

// TestMeaning asks imported rules about connections that their products decide
// in a documented way.
func TestMeaning(t *testing.T) {
	res, err := OpenSnitch([]Source{{"r.json", []byte(`{"name": "web", "action": "deny", "duration": "always", "operator": {"type": "list", "operand": "list", "data": "", "list": [
		{"type": "regexp", "operand": "process.path", "data": "^/opt/.*/browser$"},
		{"type": "regexp", "operand": "dest.host", "data": "^(|.*\\.)example\\.com$"},
		{"type": "regexp", "operand": "dest.port", "data": "^(80|443|800[01])$"}]}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := res.YAML()
	if err != nil {
		t.Fatal(err)
	}
	web := table.Compile(reread(t, res, text))
	for _, test := range []struct {
		exe, host string
		port      uint16
		want      bool
	}{
		{"/opt/a/b/browser", "example.com", 443, true}, {"/opt/a/browser", "x.example.com", 8001, true},
		{"/opt/a/browser", "xexample.com", 443, false}, {"/opt/a/browser", "example.com", 8002, false},
		{"/opt/a/browser2", "example.com", 80, false}, {"/usr/opt/a/browser", "example.com", 80, false},
	} {
		f := rule.Facts{Process: rule.Subject{Exe: test.exe, Kind: event.ExecutableFile}, Direction: event.Out, Proto: "tcp",
			To: rule.Endpoint{Port: test.port, HasPort: true, Names: []rule.Name{{Domain: test.host}}}}
		if got := len(web.Votes(&f).Rules) == 1; got != test.want {
			t.Errorf("%s to %s:%d: %v, want %v\n%s", test.exe, test.host, test.port, got, test.want, text)
		}
	}
}

func TestSpan(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"10.0.0.0-10.0.0.255", "10.0.0.0/24"}, {"10.0.0.1-10.0.0.4", "10.0.0.1 10.0.0.2/31 10.0.0.4"},
		{"0.0.0.0-255.255.255.255", "0.0.0.0/0"}, {"255.255.255.255-255.255.255.255", "255.255.255.255"},
		{"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"}, {"fe80::1-fe80::2", "fe80::1 fe80::2"}, {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
	} {
		hosts, err := addresses(test.in)
		if err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		var got []string
		for _, h := range hosts {
			got = append(got, h.String())
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s is %s, want %s", test.in, s, test.want)
		}
	}
}

// FuzzOpenSnitch: whatever a file says, it is refused or what comes of it loads.
func FuzzOpenSnitch(f *testing.F) {
	for _, s := range sources(f, "opensnitch/*.json") {
		f.Add(s.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { survives(t, data, OpenSnitch) })
}

// FuzzLittleSnitch does so for the other product.
func FuzzLittleSnitch(f *testing.F) {
	for _, s := range sources(f, "littlesnitch/*.lsrules") {
		f.Add(s.Data)
	}
	f.Add([]byte(`{"denied-remote-hosts": ["www.e192.0.2.1"]}`))
	f.Add([]byte(`{"denied-remote-hosts": ["a.example"], "denied-remote-notes": "` + strings.Repeat("\xff", 290) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) { survives(t, data, LittleSnitch) })
}

func survives(t *testing.T, data []byte, read func([]Source) (*Result, error)) {
	res, err := read([]Source{{"x", data}})
	if err != nil {
		return
	}
	whole, changed, _ := res.Count()
	text, err := res.YAML()
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	if whole+changed > 0 {
		reread(t, res, text)
	}
}
