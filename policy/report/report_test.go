package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"snitch/policy/report"
	"snitch/policy/rule"
)

var place = report.Place{Base: "deploy/rules"}

var checks = []report.Check{{ID: "dead-rule", Short: "A rule that never matches"}, {ID: "shadowed", Short: "A rule that never decides"}}

// hostile texts end lines, commands and escapes of every format.
func text() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a,b:c=d", "100%25 \r\n::error::pwned", "\x1b[2J\u202e", "]]>&<x/>", "# TODO", "...\n---"}))
}

func findings() *rapid.Generator[[]report.Finding] {
	position := rapid.Custom(func(t *rapid.T) rule.Position {
		return rule.Position{File: rapid.SampledFrom([]string{"a.yaml", "sub dir/b,c:d.yaml", "ü.yaml"}).Draw(t, "file"),
			Line: rapid.IntRange(1, 9999).Draw(t, "line"), Col: rapid.IntRange(1, 200).Draw(t, "col")}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) report.Finding {
		f := report.Finding{Level: report.Level(rapid.IntRange(1, 3).Draw(t, "level")), Check: rapid.SampledFrom(checks).Draw(t, "check").ID,
			Rule: rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,8}`).Draw(t, "rule"), Message: text().Draw(t, "message"), Pos: position.Draw(t, "pos")}
		if rapid.Bool().Draw(t, "related") {
			f.Related = []report.Related{{Message: text().Draw(t, "why"), Pos: position.Draw(t, "other")}}
		}
		return f
	}), 0, 5)
}

// command is a workflow command as the runner reads it.
type command struct {
	Name       string
	Properties map[string]string
	Message    string
}

// parseCommands reads the lines of a log as GitHub's runner does: "::name
// key=value,key=value::message", percent escapes undone last.
func parseCommands(log string) (out []command, err error) {
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\r\n")
		rest, ok := strings.CutPrefix(line, "::")
		if !ok {
			return nil, fmt.Errorf("%q is no command", line)
		}
		head, message, ok := strings.Cut(rest, "::")
		if !ok {
			return nil, fmt.Errorf("%q has no message", line)
		}
		name, properties, _ := strings.Cut(head, " ")
		c := command{Name: name, Properties: map[string]string{}, Message: data.Replace(message)}
		for p := range strings.SplitSeq(properties, ",") {
			key, value, ok := strings.Cut(p, "=")
			if !ok {
				return nil, fmt.Errorf("property %q of %q", p, line)
			}
			c.Properties[key] = property.Replace(value)
		}
		out = append(out, c)
	}
	return out, nil
}

var (
	data     = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%")
	property = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
)

func TestGitHubReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := findings().Draw(t, "findings")
		var buf bytes.Buffer
		if err := report.GitHub(&buf, place, in); err != nil {
			t.Fatal(err)
		}
		got, err := parseCommands(buf.String())
		if err != nil {
			t.Fatal(err)
		}
		var want []command
		for _, f := range in {
			c := command{Name: map[report.Level]string{1: "notice", 2: "warning", 3: "error"}[f.Level], Message: f.Message,
				Properties: map[string]string{"file": "deploy/rules/" + f.Pos.File, "line": fmt.Sprint(f.Pos.Line), "col": fmt.Sprint(f.Pos.Col), "title": f.Check + ": " + f.Rule}}
			for _, r := range f.Related {
				c.Message += fmt.Sprintf("\ndeploy/rules/%s:%d:%d: %s", r.Pos.File, r.Pos.Line, r.Pos.Col, r.Message)
			}
			want = append(want, c)
		}
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("commands, -got +want:\n%s", d)
		}
	})
}

// TestSARIFIsValid holds what is written against the schema of OASIS.
func TestSARIFIsValid(t *testing.T) {
	schema := compileSchema(t, "testdata/sarif-schema-2.1.0.json")
	rapid.Check(t, func(t *rapid.T) {
		in := findings().Draw(t, "findings")
		var buf bytes.Buffer
		if err := report.SARIF(&buf, place, report.Tool{Name: "snitch", Version: "1", Checks: checks}, in); err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(buf.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Fatal(err)
		}
		var log struct {
			Runs []struct {
				Results []struct {
					RuleID    string
					Message   struct{ Text string }
					Locations []struct {
						PhysicalLocation struct {
							Region struct{ StartLine, StartColumn int }
						}
					}
				}
			}
		}
		if err := json.Unmarshal(buf.Bytes(), &log); err != nil {
			t.Fatal(err)
		}
		if got, want := len(log.Runs[0].Results), len(in); got != want {
			t.Fatalf("%d results, want %d", got, want)
		}
		for i, r := range log.Runs[0].Results {
			region := r.Locations[0].PhysicalLocation.Region
			if r.RuleID != in[i].Check || r.Message.Text != strings.ToValidUTF8(in[i].Message, "\ufffd") || region.StartLine != in[i].Pos.Line || region.StartColumn != in[i].Pos.Col {
				t.Errorf("result %+v, want %+v", r, in[i])
			}
		}
	})
}

func compileSchema(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestSARIFWantsKnownChecks(t *testing.T) {
	err := report.SARIF(&bytes.Buffer{}, place, report.Tool{Name: "snitch"}, []report.Finding{{Level: report.Error, Check: "new"}})
	if err == nil || !strings.Contains(err.Error(), `"new"`) {
		t.Errorf("error %v, want one that names the check", err)
	}
}

// TestPrettyMovesNoTerminal wants one line a place and nothing that a terminal
// obeys, whatever the texts are.
func TestPrettyMovesNoTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := findings().Draw(t, "findings")
		var buf bytes.Buffer
		if err := report.Pretty(&buf, place, report.Style{}, in); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for _, f := range in {
			lines += 1 + len(f.Related)
		}
		if got := strings.Count(buf.String(), "\n"); got != lines {
			t.Errorf("%d lines, want %d", got, lines)
		}
		for _, r := range buf.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%U is not printable", r)
			}
		}
	})
}

func TestPretty(t *testing.T) {
	in := []report.Finding{
		{Level: report.Error, Check: "dead-rule", Rule: "x", Message: "never matches", Pos: rule.Position{File: "a.yaml", Line: 3, Col: 5},
			Related: []report.Related{{Message: "because of this", Pos: rule.Position{File: "a.yaml", Line: 9, Col: 1}}}},
		{Level: report.Info, Check: "shadowed", Message: "whole file", Pos: rule.Position{File: "b.yaml"}},
		{Level: report.Warning, Check: "shadowed", Message: "nowhere"},
	}
	var buf bytes.Buffer
	if err := report.Pretty(&buf, place, report.Style{}, in); err != nil {
		t.Fatal(err)
	}
	want := `deploy/rules/a.yaml:3:5: error: never matches (dead-rule)
    deploy/rules/a.yaml:9:1: because of this
deploy/rules/b.yaml: info: whole file (shadowed)
warning: nowhere (shadowed)
`
	if d := cmp.Diff(buf.String(), want); d != "" {
		t.Errorf("pretty, -got +want:\n%s", d)
	}
	buf.Reset()
	if err := report.Pretty(&buf, place, report.Style{Color: true}, in); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(buf.String(), "\x1b[31merror\x1b[0m") {
		t.Errorf("no colour in %q", buf.String())
	}
}

func TestJSONReadsBack(t *testing.T) {
	in := []report.Finding{{Level: report.Warning, Check: "shadowed", Rule: "r", Message: "m", Pos: rule.Position{File: "a.yaml", Line: 3, Col: 5}}}
	var buf bytes.Buffer
	if err := report.JSON(&buf, place, in); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"version": 1., "errors": 0., "warnings": 1., "infos": 0., "findings": []any{map[string]any{
		"level": "warning", "check": "shadowed", "rule": "r", "message": "m", "file": "deploy/rules/a.yaml", "line": 3., "col": 5.}}}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("JSON, -got +want:\n%s", d)
	}
}
