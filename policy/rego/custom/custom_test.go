package custom

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"snitch/policy/rule"
)

func module(file, text string) rule.Module {
	return rule.Module{File: file, Source: []byte(text), Test: strings.HasSuffix(file, "_test.rego")}
}

// one wraps rules into a package x.
func one(text string) []rule.Module {
	return []rule.Module{module("x.rego", "package snitch.custom.x\n\n"+text)}
}

func compile(t *testing.T, modules []rule.Module, lists ...*rule.List) *Program {
	t.Helper()
	p, err := Compile(t.Context(), modules, listMap(lists), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func listMap(lists []*rule.List) map[string]*rule.List {
	m := map[string]*rule.List{}
	for _, l := range lists {
		m[l.Name] = l
	}
	return m
}

// TestRefused names what does not compile, with the place.
func TestRefused(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", `deny contains "a" if input.proces.exe == "/x"`, `x.rego:3:22: undefined ref: input.proces.exe: it has direction, from, matches, novelty, process, to, v, verdict`},
		{"unknown key below", `deny contains "a" if input.process.parent.ex == "/x"`, "x.rego:3:22: undefined ref: input.process.parent.ex"},
		{"text for a number", `deny contains "a" if input.to.port == "443"`, "x.rego:3:22: match error"},
		{"set as value", `deny := "a" if input.to.port == 443`, "x.rego:3:1: deny must be a set: write `deny contains \"id\" if { … }`"},
		{"set as object", `deny["a"] if input.to.port == 443`, "x.rego:3:1: deny must be a set"},
		{"function", `allow(x) if x == 1`, "x.rego:3:1: allow must be a set"},
		{"strict", "deny contains \"a\" if {\n\tunused := 1\n}", "x.rego:4:2: assigned var unused unused"},
		{"syntax", `deny contains "a" if {`, "x.rego:3:"},
		{"clock", `deny contains "a" if time.now_ns() > 1`, "x.rego:3:22: built-in function time.now_ns is not allowed here"},
		{"mocked clock", `deny contains "a" if input.to.port > 1 with time.now_ns as 1`, "x.rego:3:45: built-in function time.now_ns is not allowed"},
		{"other data", `deny contains "a" if data.secrets.x`, "x.rego:3:22: data.secrets.x: only data.lists.NAME"},
		{"other package", `deny contains "a" if data.snitch.custom.y.deny.z`, "x.rego:3:22: data.snitch.custom.y.deny.z: only data.lists.NAME"},
		{"the rules", `deny contains "a" if count(data.snitch.policy.rules) > 1`, "x.rego:3:28: data.snitch.policy.rules: only"},
		{"all data", `deny contains "a" if data`, "x.rego:3:22: data: only data.lists.NAME"},
		{"all lists", `deny contains "a" if data.lists[input.to.domain]`, "x.rego:3:22: data.lists[input.to.domain]: name the list"},
		{"imported data", "import data.secrets\n\ndeny contains \"a\" if secrets.x", "x.rego:3:1: data.secrets: only"},
		{"no such list", `deny contains "a" if data.lists.nope[input.to.domain]`, `x.rego:3:22: no list is named "nope"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Compile(t.Context(), one(c.text), nil, Options{})
			var errs *rule.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v, want rule.Errors", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
		})
	}
}

// TestPackages names the packages that may not be.
func TestPackages(t *testing.T) {
	for _, text := range []string{"package x", "package snitch.custom", "package snitch.custom.x.y", "package snitch.policy.x",
		"package snitch.custom.X", `package snitch.custom["a b"]`, "package snitch.custom.x_test", "", "# nothing"} {
		if _, err := Compile(t.Context(), []rule.Module{module("x.rego", text)}, nil, Options{}); err == nil || !strings.HasPrefix(err.Error(), "x.rego:1:") {
			t.Errorf("%q: got %v, want an error at x.rego:1", text, err)
		}
	}
}

// TestBuiltins calls every built-in function of OPA: each that is not allowed
// is an error with its place, each that is allowed is none.
func TestBuiltins(t *testing.T) {
	refusedCount := 0
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if b.Infix != "" || strings.HasPrefix(b.Name, "internal.") || b.Name == "walk" {
			continue
		}
		args := strings.TrimSuffix(strings.Repeat("input.process.name, ", len(b.Decl.FuncArgs().Args)), ", ")
		_, err := Compile(t.Context(), one("deny contains \"a\" if {\n\t"+b.Name+"("+args+")\n}"), nil, Options{})
		message := ""
		if err != nil {
			message = err.Error()
		}
		bad := strings.Contains(message, "x.rego:4:2: built-in function "+b.Name+" is not allowed here")
		if bad {
			refusedCount++
		}
		if want := refused(b.Ref()) != ""; bad != want {
			t.Errorf("%s: refused %v, want %v: %s", b.Name, bad, want, message)
		}
	}
	for _, name := range []string{"http.send", "net.lookup_ip_addr", "opa.runtime", "rand.intn", "time.now_ns", "trace", "print", "uuid.rfc4122", "rego.parse_module", "io.jwt.decode_verify"} {
		if refused(ast.BuiltinMap[name].Ref()) != name {
			t.Errorf("%s is allowed", name)
		}
	}
	if refusedCount < 60 {
		t.Errorf("only %d built-ins were refused: the test shows little", refusedCount)
	}
	for _, name := range allowed {
		if ast.BuiltinMap[name] == nil {
			t.Errorf("OPA has no built-in %q", name)
		}
	}
}

// TestEval compares whole answers.
func TestEval(t *testing.T) {
	ads := rule.NewList("ads", []rule.Host{{Kind: rule.HostSuffix, Name: "ads.example"}, {Kind: rule.HostName, Name: "x.example"}})
	p := compile(t, one(`
deny contains "by-list" if data.lists.ads[input.to.domain]
deny contains {"id": "port", "reason": sprintf("port %d", [input.to.port])} if input.to.port == 25
alert contains "loud" if "ads" in input.to.lists
allow contains "quiet" if not input.to.domain
`), ads)
	port := uint16(25)
	for _, c := range []struct {
		name string
		in   Input
		want []string
	}{
		{"hit", Input{To: Endpoint{Domain: "x.example", Port: &port, Lists: []string{"ads"}}}, []string{"alert custom.x.loud ", "deny custom.x.by-list ", "deny custom.x.port port 25"}},
		{"near miss", Input{To: Endpoint{Domain: "y.example"}}, nil},
		{"absent", Input{}, []string{"allow custom.x.quiet "}},
	} {
		got, err := p.Eval(t.Context(), "x", &c.in)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, v := range got {
			texts = append(texts, v.Action.String()+" "+v.ID+" "+v.Reason)
			if v.Pos.File != "x.rego" || v.Pos.Line < 4 {
				t.Errorf("%s: position %v", c.name, v.Pos)
			}
		}
		if diff := cmp.Diff(c.want, texts); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
