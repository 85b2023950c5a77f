package rego

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/rego"

	"snitch/monitor/event"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

// TestExport loads the exported text as anybody would and gets the same votes
// from it, for the input that the evaluator made.
func TestExport(t *testing.T) {
	sets := 60
	if testing.Short() {
		sets = 15
	}
	for seed := range sets {
		g := ruletest.New(uint64(seed))
		set := g.Set()
		text := []byte(exported(t, set))
		again, err := format.Source("policy.rego", text)
		if err != nil || !bytes.Equal(again, text) {
			t.Fatalf("seed %d: the export is not formatted (%v):\n%s", seed, err, text)
		}
		query, err := rego.New(rego.Module("policy.rego", string(text)), rego.Strict(true), rego.Query("data.snitch.policy.decision")).PrepareForEval(t.Context())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		e, err := New(t.Context(), set)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			f := g.Facts(set)
			want, err := e.Votes(t.Context(), &f)
			if err != nil {
				t.Fatal(err)
			}
			results, err := query.Eval(t.Context(), rego.EvalParsedInput(e.in.input(&f)))
			if err != nil || len(results) != 1 {
				t.Fatalf("seed %d: %v, %v", seed, results, err)
			}
			var got rule.Votes
			remarshal(t, results[0].Expressions[0].Value, &got)
			if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
				t.Fatalf("seed %d (-votes +export):\n%s\n%s", seed, diff, text)
			}
		}
	}
}

func remarshal(t *testing.T, from, to any) {
	t.Helper()
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestExportGolden shows what people read.
func TestExportGolden(t *testing.T) {
	set := rule.NewSet([]rule.Rule{
		{ID: "ci-git", Action: event.ActionAllow, Mode: event.ModeEnforce, Reason: "CI clones\nover HTTPS", Pos: rule.Position{File: "ci.yaml", Line: 5, Col: 5},
			Match: rule.Match{Direction: []event.Direction{event.Out}, Process: &rule.ProcessMatch{Exe: paths("/usr/bin/git"), User: []string{"ci"},
				Parent: &rule.ProcessMatch{Exe: paths("/opt/runner/*/bin/Worker")}, Ancestor: &rule.ProcessMatch{Exe: paths("/usr/sbin/sshd"), User: []string{"root"}}},
				To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostName, Name: "github.com"}, {Kind: rule.HostBelow, Name: "github.com"}, {Kind: rule.HostList, Name: "mirrors"}},
					Port: []rule.PortRange{{First: 443, Last: 443}, {First: 8000, Last: 8099}}, Proto: []string{"tcp"}}}},
		{ID: "no-paste", Action: event.ActionDeny, Mode: event.ModeEnforce, Pos: rule.Position{File: "ci.yaml", Line: 12, Col: 5},
			Match:  rule.Match{To: &rule.EndpointMatch{Host: []rule.Host{{Kind: rule.HostSuffix, Name: "pastebin.com"}}}},
			Except: []rule.Match{{Process: &rule.ProcessMatch{Exe: paths("/usr/bin/ir-collector")}}}},
	}, nil, nil, nil)
	set.Revision = "sha256:0123456789abcdef"
	want := `package snitch.policy

# METADATA
# entrypoint: true
decision := {"confine": confine, "rules": rules}

# ci.yaml:5:5: allow: CI clones
# over HTTPS
rules contains "ci-git" if {
	input.direction == "out"
	"github.com | *.github.com | @mirrors" in input.to.trusted
	"port: 443 | 8000-8099" in input.to.ports
	input.proto == "tcp"
	input.process.file == "/usr/bin/git"
	input.process.user == "ci"
	"file: /opt/runner/*/bin/Worker" in input.ancestors[0].matching
	"file: /usr/sbin/sshd" in input.above
	some n1
	input.ancestors[n1].file == "/usr/sbin/sshd"
	input.ancestors[n1].user == "root"
}

# ci.yaml:12:5: deny
rules contains "no-paste" if {
	".pastebin.com" in input.to.hosts
	not except["no-paste"]
}

except["no-paste"] if input.process.file == "/usr/bin/ir-collector"

confine := set()
`
	_, got, _ := strings.Cut(exported(t, set), "ranges.\n\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHostileText carries texts into the module that would end a comment or a
// string of text.
func TestHostileText(t *testing.T) {
	nasty := "a\"] } # \\u0000 `x` \u2028 {{}} [*] ?"
	set := rule.NewSet([]rule.Rule{{ID: "x", Action: event.ActionDeny, Mode: event.ModeEnforce, Reason: nasty + "\npackage evil", Match: rule.Match{
		Process: &rule.ProcessMatch{Exe: paths(nasty), Name: words(nasty + "*"), User: []string{nasty}}}}}, nil, nil, nil)
	set.Revision = "x\npackage evil"
	mod, err := ast.ParseModule("x.rego", exported(t, set))
	if err != nil {
		t.Fatal(err)
	}
	if len(mod.Rules) != 3 {
		t.Errorf("%d rules, want 3", len(mod.Rules))
	}
	e, err := New(t.Context(), set)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []rule.Facts{{Process: rule.Subject{Exe: nasty, Name: nasty, User: nasty}}, {Process: rule.Subject{Exe: nasty + "x", Name: nasty, User: nasty}}} {
		v, err := e.Votes(t.Context(), &f)
		if err != nil || (len(v.Rules) == 1) != (f.Process.Exe == nasty) {
			t.Errorf("%q: %v, %v", f.Process.Exe, v, err)
		}
	}
}
