package suite

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"snitch/monitor/event"
	"snitch/policy/report"
	"snitch/policy/rule"
)

var place = report.Place{Base: "rules"}

// results makes runs whose texts are as hostile as a pull request can make them.
func results() *rapid.Generator[*Report] {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a # TODO b", "]]></failure>", "\x1b[2J", "x\n::error::pwned", `back\slash`, "not ok 7 - y"}))
	return rapid.Custom(func(t *rapid.T) *Report {
		r := &Report{}
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			res := Result{Name: text.Draw(t, "name"), Pos: rule.Position{File: rapid.SampledFrom([]string{"a_test.yaml", "b_test.yaml"}).Draw(t, "file"), Line: 3, Col: 5}}
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 1:
				res.Differences = []Difference{{"expect.action", "allow", "deny"}, {"expect.rule", text.Draw(t, "want"), text.Draw(t, "got")}}
				res.Decision = &rule.Decision{Action: event.ActionDeny, Rule: "r", Reason: text.Draw(t, "reason"), Pos: rule.Position{File: "a.yaml", Line: 9, Col: 5}}
			case 2:
				res.Err = "no decision: " + text.Draw(t, "error")
			}
			r.Results = append(r.Results, res)
		}
		if rapid.Bool().Draw(t, "problem") {
			r.Problems = []report.Finding{{Level: report.Error, Check: CheckCoverage, Message: text.Draw(t, "problem text")}}
		}
		return r
	})
}

// TestJUnitReadsBack reads the XML with structures of its own: what a CI server
// would count must be what happened.
func TestJUnitReadsBack(t *testing.T) {
	type suite struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			File    string `xml:"file,attr"`
			Line    int    `xml:"line,attr"`
			Failure *struct {
				Message string `xml:"message,attr"`
				Text    string `xml:",chardata"`
			} `xml:"failure"`
			Error *struct {
				Message string `xml:"message,attr"`
			} `xml:"error"`
		} `xml:"testcase"`
	}
	rapid.Check(t, func(t *rapid.T) {
		r := results().Draw(t, "report")
		var buf bytes.Buffer
		if err := JUnit(&buf, place, r); err != nil {
			t.Fatal(err)
		}
		var got struct {
			XMLName  xml.Name `xml:"testsuites"`
			Tests    int      `xml:"tests,attr"`
			Failures int      `xml:"failures,attr"`
			Errors   int      `xml:"errors,attr"`
			Suites   []suite  `xml:"testsuite"`
		}
		if err := xml.Unmarshal(buf.Bytes(), &got); err != nil {
			t.Fatalf("%v in\n%s", err, buf.String())
		}
		failures, errs, n := len(r.Problems), 0, 0
		for i := range r.Results {
			switch {
			case r.Results[i].Err != "":
				errs++
			case !r.Results[i].Passed():
				failures++
			}
		}
		if got.Tests != len(r.Results)+len(r.Problems) || got.Failures != failures || got.Errors != errs {
			t.Errorf("tests %d failures %d errors %d, want %d %d %d", got.Tests, got.Failures, got.Errors, len(r.Results)+len(r.Problems), failures, errs)
		}
		for _, s := range got.Suites {
			for _, c := range s.Cases {
				if n >= len(r.Results) {
					continue
				}
				want := &r.Results[n]
				if n++; c.Name != xmlText(want.Name) || c.File != "rules/"+want.Pos.File || c.Line != 3 || (c.Failure == nil) != (len(want.Differences) == 0) || (c.Error == nil) != (want.Err == "") {
					t.Errorf("case %+v, want %+v", c, want)
				}
				if c.Failure != nil && (c.Failure.Message != xmlText(want.Message()) || !strings.Contains(c.Failure.Text, "expect.action: want allow, got deny")) {
					t.Errorf("failure %+v of %q", c.Failure, want.Message())
				}
			}
		}
		if n != len(r.Results) {
			t.Errorf("%d cases, want %d", n, len(r.Results))
		}
	})
}

// xmlText is what XML can hold of a text.
func xmlText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 {
			return r
		}
		return '\ufffd'
	}, s)
}

type tapPoint struct {
	OK          bool
	Description string
	Directive   string
	Message     string
}

var tapLine = regexp.MustCompile(`^(not )?ok (\d+) - (.*)$`)

// readTAP reads version 14 as its specification says: escapes of # and \, a
// directive behind an unescaped #, a YAML block of two spaces.
func readTAP(in io.Reader) (points []tapPoint, err error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 1<<20)
	plan := -1
	for n := 0; s.Scan(); n++ {
		line := s.Text()
		switch m := tapLine.FindStringSubmatch(line); {
		case n == 0 && line == "TAP version 14":
		case n == 1:
			if _, err := fmt.Sscanf(line, "1..%d", &plan); err != nil {
				return nil, err
			}
		case m != nil:
			if m[2] != strconv.Itoa(len(points)+1) {
				return nil, fmt.Errorf("point %s behind %d", m[2], len(points))
			}
			p := tapPoint{OK: m[1] == ""}
			p.Description, p.Directive = tapUnescape(m[3])
			points = append(points, p)
		case line == "  ---" || line == "  ...":
		case strings.HasPrefix(line, "  {") && len(points) > 0:
			var d struct{ Message string }
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				return nil, err
			}
			points[len(points)-1].Message = d.Message
		default:
			return nil, fmt.Errorf("line %d: %q", n+1, line)
		}
	}
	if plan != len(points) {
		return nil, fmt.Errorf("%d points, planned %d", len(points), plan)
	}
	return points, s.Err()
}

func tapUnescape(s string) (description, directive string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '\\' || s[i+1] == '#'):
			i++
			b.WriteByte(s[i])
		case s[i] == '#':
			return b.String(), s[i:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

func TestTAPReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := results().Draw(t, "report")
		var buf bytes.Buffer
		if err := TAP(&buf, place, r); err != nil {
			t.Fatal(err)
		}
		got, err := readTAP(&buf)
		if err != nil {
			t.Fatal(err)
		}
		var want []tapPoint
		for i := range r.Results {
			res := &r.Results[i]
			p := tapPoint{OK: res.Passed(), Description: res.Name, Message: strings.ToValidUTF8(res.Message(), "\ufffd")}
			want = append(want, p)
		}
		for _, f := range r.Problems {
			want = append(want, tapPoint{Description: f.Check + " ", Message: f.Message})
		}
		for i := range want {
			if report.Printable(want[i].Description) == want[i].Description { // else it is escaped, for a terminal
				continue
			}
			want[i].Description = got[i].Description
			for _, c := range got[i].Description {
				if !unicode.IsPrint(c) {
					t.Errorf("%U in %q", c, got[i].Description)
				}
			}
		}
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("points, -got +want:\n%s", d)
		}
	})
}

func TestPrettyMovesNoTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var buf bytes.Buffer
		if err := Pretty(&buf, place, report.Style{}, true, results().Draw(t, "report")); err != nil {
			t.Fatal(err)
		}
		for _, c := range buf.String() {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Errorf("%U is not printable", c)
			}
		}
	})
}

func TestPretty(t *testing.T) {
	cfg := load(t, map[string]string{"a.yaml": rules, "a_test.yaml": tests + strings.TrimPrefix(failing, "version: 1\ncases:\n")})
	r := run(t, cfg)
	r.Mutation = &Mutation{Killed: 1, Survivors: []Mutant{{ID: "no-paste", Pos: rule.Position{File: "a.yaml", Line: 11, Col: 5}, Change: "drop to.host"}}}
	var buf bytes.Buffer
	if err := Pretty(&buf, place, report.Style{}, false, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"FAIL wrong action rules/a_test.yaml:13:5\n     action  got  deny\n             want allow\n     decided by no-paste (deny) at rules/a.yaml:11:5: nothing leaves this way\n",
		"     also matched no-paste (deny) at rules/a.yaml:11:5\n",
		"coverage\n  rules/a.yaml 100 %  4 of 4\n",
		"mutation score 50 %: 1 of 2 changed rules were noticed\n  rules/a.yaml:11:5: no-paste: drop to.host\n",
		"FAIL  3 passed, 4 failed, 100 % of 4 rules covered\n",
	} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("no %q in\n%s", want, buf.String())
		}
	}
	if strings.Contains(buf.String(), "nobody pastes") {
		t.Error("a case that passed is shown")
	}
}

func TestJSONReadsBack(t *testing.T) {
	cfg := load(t, map[string]string{"a.yaml": rules, "a_test.yaml": tests})
	cfg.Mutate, cfg.MinCoverage = true, 100
	r := run(t, cfg)
	var buf bytes.Buffer
	if err := JSON(&buf, place, r); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Version, Passed, Failed int
		OK                      bool
		Results                 []struct {
			Name, Action, Rule, File string
			Passed                   bool
			Line                     int
			Matches                  []string
		}
		Coverage struct {
			Percent float64
			Rules   []struct {
				ID      string
				Covered bool
			}
		}
		Mutation struct {
			Score         float64
			Killed, Total int
			Survivors     []struct{ Rule, Change string }
		}
		Problems []struct{ Check string }
	}
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || got.OK || got.Passed != 3 || got.Failed != 0 || len(got.Results) != 3 || got.Coverage.Percent != 75 || len(got.Coverage.Rules) != 4 {
		t.Errorf("%+v", got)
	}
	if first := got.Results[0]; first.Action != "allow" || first.Rule != "ci-git-github" || first.File != "rules/a_test.yaml" || first.Line != 3 || len(first.Matches) != 1 {
		t.Errorf("%+v", first)
	}
	if m := got.Mutation; m.Total != r.Mutation.Total() || m.Killed != r.Mutation.Killed || len(m.Survivors) != len(r.Mutation.Survivors) {
		t.Errorf("%+v", m)
	}
	if len(got.Problems) != 1 || got.Problems[0].Check != CheckCoverage {
		t.Errorf("%+v", got.Problems)
	}
}
