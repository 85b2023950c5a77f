package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/policy/report"
	"snitch/policy/rule"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// check reads rules and looks through them, as `policy check` does. Each finding
// is "line:col check rule".
func check(t *testing.T, text string) []string {
	t.Helper()
	l, err := rule.Parse("a.yaml", []byte("version: 1\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range Check(l.Set, Config{Now: now, Warnings: l.Warnings}) {
		if f.Check != CheckReason && f.Check != CheckUserSpace {
			out = append(out, fmt.Sprintf("%d:%d %s %s %s", f.Pos.Line, f.Pos.Col, f.Level, f.Check, f.Rule))
		}
		if !slices.ContainsFunc(Catalogue(), func(c report.Check) bool { return c.ID == f.Check }) {
			t.Errorf("%s is not in the catalogue", f.Check)
		}
	}
	return out
}

// TestChecks has, for each check, rules that it finds and the nearest ones that
// it does not.
func TestChecks(t *testing.T) {
	for _, test := range []struct {
		name, rules string
		want        []string
	}{
		{"a scope that no address of the hosts has", `rules: [{id: a, action: deny, to: {host: [10.0.0.0/8, 127.0.0.1], scope: internet}}]`, []string{"2:9 error dead-rule a"}},
		{"a scope that one address has", `rules: [{id: a, action: deny, to: {host: [10.0.0.0/8, 9.9.9.9], scope: internet}}]`, nil},
		{"a network that reaches into the scope", `rules: [{id: a, action: deny, to: {host: 8.0.0.0/5, scope: lan}}]`, nil},
		{"a name may have any scope", `rules: [{id: a, action: deny, to: {host: example.org, scope: lan}}]`, nil},
		{"an allow by name in the lan", `rules: [{id: a, action: allow, process: {exe: /a}, to: {host: example.org, scope: lan}}]`, []string{"2:76 warning name-scope a"}},
		{"an exception that takes all", "rules:\n  - {id: a, action: deny, process: {exe: /a}, to: {host: 10.0.0.1}, except: [{to: {host: 10.0.0.0/8}}]}", []string{"3:5 error dead-rule a"}},
		{"an exception that takes some", "rules:\n  - {id: a, action: deny, process: {exe: /a}, to: {host: 10.0.0.0/8}, except: [{to: {host: 10.0.0.1}}]}", nil},
		{"an exception by name believes trusted names only", "rules:\n  - {id: a, action: deny, to: {host: example.org}, except: [{to: {host: example.org}}]}", nil},
		{"an exception of another program", "rules:\n  - {id: a, action: deny, process: {exe: /a}, except: [{process: {exe: /b}}]}", []string{"3:56 warning idle-except a"}},
		{"an exception of another port", "rules:\n  - {id: a, action: deny, to: {port: 1-9}, except: [{to: {port: 10}}]}", []string{"3:53 warning idle-except a"}},
		{"an exception of a program in the pattern", "rules:\n  - {id: a, action: deny, process: {exe: /opt/**}, except: [{process: {exe: /opt/b}}]}", nil},
		{"expired", "rules: [{id: a, action: deny, expires: 2026-11-23T12:00:00Z, to: {port: 1}}]", []string{"2:31 warning expired a"}},
		{"not yet expired", "rules: [{id: a, action: deny, expires: 2026-11-23T12:00:01Z, to: {port: 1}}]", nil},
		{"redundant by a wider pattern and host", "rules:\n  - {id: a, action: deny, process: {exe: /opt/a/b}, to: {host: x.example.org, port: 443}}\n  - {id: b, action: deny, process: {exe: /opt/**}, to: {host: .example.org, port: [1-400, 401-500]}}", []string{"3:5 warning redundant a"}},
		{"a star ends at a slash", "rules:\n  - {id: a, action: deny, process: {exe: /opt/a/b}}\n  - {id: b, action: deny, process: {exe: /opt/*}}", nil},
		{"the apex is not below itself", "rules:\n  - {id: a, action: deny, to: {host: .example.org}}\n  - {id: b, action: deny, to: {host: \"*.example.org\"}}", []string{"4:5 warning redundant b"}},
		{"twins: one of them stays", "rules:\n  - {id: a, action: deny, to: {port: 1}}\n  - {id: b, action: deny, to: {port: 1}}", []string{"3:5 warning redundant a"}},
		{"shadowed by a deny", "rules:\n  - {id: a, action: allow, process: {exe: /a}}\n  - {id: b, action: deny, process: {exe: [/a, /b]}}", []string{"3:5 warning shadowed a"}},
		{"a milder rule shadows nothing", "rules:\n  - {id: a, action: deny, process: {exe: /a}}\n  - {id: b, action: alert, process: {exe: [/a, /b]}}", nil},
		{"a deny with an exception in the way", "rules:\n  - {id: a, action: allow, process: {exe: /a}}\n  - {id: b, action: deny, process: {exe: [/a, /b]}, except: [{to: {port: 1}}]}", nil},
		{"an audit rule outvotes nothing", "rules:\n  - {id: a, action: allow, process: {exe: /a}}\n  - {id: b, action: deny, mode: audit, process: {exe: [/a, /b]}}", nil},
		{"a rule that ends earlier covers less", "rules:\n  - {id: a, action: deny, process: {exe: /a}}\n  - {id: b, action: deny, expires: 2027-01-01T00:00:00Z, process: {exe: [/a, /b]}}", nil},
		{"an allow under an alert", "rules:\n  - {id: a, action: allow, process: {exe: /a}}\n  - {id: b, action: alert, process: {exe: [/a, /b]}}", []string{"3:5 warning shadowed a"}},
		{"an allow under an alert, for a confined program", "confine: [{id: c, process: {exe: /a}}]\nrules:\n  - {id: a, action: allow, process: {exe: /a}}\n  - {id: b, action: alert, process: {exe: [/a, /b]}}", nil},
		{"a deny by name under an allow's own names", "rules:\n  - {id: a, action: allow, process: {exe: /a}, to: {host: example.org}}\n  - {id: b, action: deny, to: {host: example.org}}", []string{"3:5 warning shadowed a"}},
		{"a path of files only covers no memfd", "rules:\n  - {id: a, action: deny, process: {exe: /a, kind: [file, memfd]}}\n  - {id: b, action: deny, process: {exe: /a}}", []string{"4:5 warning redundant b"}},
		{"an allow of everything", "rules: [{id: a, action: allow, process: any}]", []string{"2:9 warning unconditional-allow a"}},
		{"an allow of everything, and a confinement", "confine: [{id: c, process: {exe: /a}}]\nrules: [{id: a, action: allow, process: any}]", []string{"3:9 error unconditional-allow a"}},
		{"an allow that never allows", "rules: [{id: a, action: allow, mode: audit, process: {exe: /a}}]", []string{"2:32 warning audit-allow a"}},
		{"every program", "rules: [{id: a, action: deny, process: {exe: /**}, to: {port: 1}}]", []string{"2:41 warning wide-glob a"}},
		{"confined to nothing", "confine: [{id: c, process: {exe: /a}}]\nrules: [{id: a, action: allow, process: {exe: /b}}]", []string{"2:11 warning confine-without-allow c"}},
		{"confined to something", "confine: [{id: c, process: {exe: /a}}]\nrules: [{id: a, action: allow, process: {exe: \"/*\"}, to: {port: 1}}]", nil},
		{"a confinement with an exception of all", "confine: [{id: c, process: {exe: /a}, except: [{process: {exe: \"/*\"}}]}]\nrules: [{id: a, action: allow, process: {exe: /a}, to: {port: 1}}]", []string{"2:11 error dead-rule c"}},
		{"an item inside another", "rules: [{id: a, action: deny, to: {host: [10.0.0.1, 10.0.0.0/8], port: [80, 1-100]}}]", []string{"2:36 info duplicate-item a", "2:66 info duplicate-item a"}},
		{"a list that nobody names", "lists: {l: [example.org], m: [example.org]}\nrules: [{id: a, action: deny, to: {host: \"@m\"}}]", []string{"2:9 info unused-list "}},
		{"a host on the list that another rule names", "lists: {m: [.example.org, 10.0.0.0/8]}\nrules:\n  - {id: a, action: deny, to: {host: \"@m\"}}\n  - {id: b, action: deny, to: {host: [x.example.org, 10.0.0.1]}}", []string{"5:5 warning redundant b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if d := cmp.Diff(check(t, test.rules), test.want); d != "" {
				t.Errorf("findings, -got +want:\n%s", d)
			}
		})
	}
}

// TestTests holds what tests expect against the rules.
func TestTests(t *testing.T) {
	l, err := rule.Parse("a.yaml", []byte("version: 1\nrules: [{id: a, action: deny, reason: r, to: {port: 1}}, {id: b, action: deny, reason: r, to: {port: 2}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	at := rule.Position{File: "a_test.yaml", Line: 7, Col: 3}
	for _, f := range Check(l.Set, Config{Now: now, Expectations: map[string]rule.Position{"a": at, "gone": at, "custom.x.y": at}}) {
		got = append(got, fmt.Sprintf("%s %s: %s", f.Pos.File, f.Check, f.Message))
	}
	want := []string{"a.yaml untested: no test expects rule b", "a_test.yaml unknown-rule: there is no rule gone"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("findings, -got +want:\n%s", d)
	}
}

// TestUserSpaceNamesTheKey says which condition of a rule the kernel asks about.
func TestUserSpaceNamesTheKey(t *testing.T) {
	l, err := rule.Parse("a.yaml", []byte("version: 1\nrules:\n  - id: a\n    action: deny\n    reason: r\n    process: {cmdline: \"*x*\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := Check(l.Set, Config{Now: now})
	if len(f) != 1 || f[0].Check != CheckUserSpace || f[0].Pos.Line != 6 || f[0].Pos.Col != 15 || !strings.HasPrefix(f[0].Message, "a, process.cmdline: ") {
		t.Errorf("%+v", f)
	}
}

// TestManyRules is quick enough for a directory of ten thousand rules.
func TestManyRules(t *testing.T) {
	if testing.Short() {
		t.Skip("short: ten thousand rules")
	}
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "  - {id: r%d, action: deny, reason: r, process: {exe: /opt/p%d}, to: {host: h%d.example.org, port: %d}}\n", i, i%5000, i, 1+i%9)
	}
	l, err := rule.Parse("a.yaml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	Check(l.Set, Config{Now: now})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a check of 10,000 rules took %s", took)
	} else {
		t.Logf("a check of 10,000 rules took %s", took)
	}
}
