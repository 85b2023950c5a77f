package suite

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"snitch/policy/report"
	"snitch/policy/rule"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const rules = `version: 1
confine:
  - id: git-locked
    process: {exe: /usr/bin/git}
rules:
  - id: ci-git-github
    action: allow
    reason: CI clones over HTTPS
    process: {exe: /usr/bin/git, user: ci, parent: {exe: "/opt/runner/*/bin/Worker"}}
    to: {host: [github.com, "*.github.com", 10.0.0.0/8], port: [443, 8000-8099], proto: tcp}
  - id: no-paste
    action: deny
    reason: nothing leaves this way
    to: {host: .pastebin.com}
    except: [{process: {exe: /usr/bin/ir-collector}}]
  - id: watch-telnet
    action: deny
    mode: audit
    reason: telnet is on its way out
    to: {port: 23, proto: tcp}
`

const tests = `version: 1
cases:
  - name: runner git reaches github
    when: {process: {exe: /usr/bin/git, user: ci, parent: {exe: /opt/runner/2.3/bin/Worker}},
           to: "tcp://api.github.com[140.82.112.5]:443"}
    expect: {action: allow, rule: ci-git-github}
  - name: nobody pastes
    when: {process: {exe: /usr/bin/curl}, to: "tcp://pastebin.com[203.0.113.1]:443"}
    expect: {action: deny, rule: no-paste, matches: no-paste}
  - name: telnet alerts
    when: {process: {exe: /usr/bin/telnet}, to: "tcp://203.0.113.1:23"}
    expect: {action: alert, rule: none, matches: watch-telnet}
`

// load reads files and makes a Config of them.
func load(t *testing.T, files map[string]string) Config {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	l, err := rule.Load(fsys, rule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	opa, err := NewOPA(t.Context(), l.Set)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Set: l.Set, Tests: l.Tests, Voter: opa, Now: now}
}

func run(t *testing.T, cfg Config) *Report {
	t.Helper()
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRunPasses(t *testing.T) {
	r := run(t, load(t, map[string]string{"a.yaml": rules, "a_test.yaml": tests}))
	for _, res := range r.Results {
		if !res.Passed() {
			t.Errorf("%s: %s", res.Name, res.Message())
		}
	}
	if !r.OK() || len(r.Results) != 3 {
		t.Errorf("ok %v with %d results", r.OK(), len(r.Results))
	}
	var got []string
	for _, c := range r.Coverage.Rules {
		got = append(got, fmt.Sprintf("%s:%d %s %d %d %v", c.Pos.File, c.Pos.Line, c.ID, c.Matched, c.Decided, c.Done))
	}
	want := []string{"a.yaml:3 git-locked 0 0 false", "a.yaml:6 ci-git-github 1 1 true", "a.yaml:11 no-paste 1 1 true", "a.yaml:16 watch-telnet 1 0 true"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("coverage, -got +want:\n%s", d)
	}
	if got, want := r.Coverage.Percent(), 75.; got != want {
		t.Errorf("%v %% covered, want %v", got, want)
	}
}

// failing expects something else in every way that a case can.
const failing = `version: 1
cases:
  - name: wrong action
    when: {process: {exe: /usr/bin/curl}, to: "tcp://pastebin.com:443"}
    expect: {action: allow}
  - name: wrong rule
    when: {process: {exe: /usr/bin/curl}, to: "tcp://pastebin.com:443"}
    expect: {action: deny, rule: git-locked}
  - name: wrong matches and reason
    when: {process: {exe: /usr/bin/git}, to: "tcp://pastebin.com:443"}
    expect: {action: deny, matches: [no-paste], reason: because}
  - name: a rule where none was expected
    when: {process: {exe: /usr/bin/git}, to: "tcp://203.0.113.9:22"}
    expect: {action: deny, rule: none, matches: none}
`

func TestRunFails(t *testing.T) {
	r := run(t, load(t, map[string]string{"a.yaml": rules, "a_test.yaml": failing}))
	var got []string
	for _, res := range r.Results {
		got = append(got, fmt.Sprintf("%d %s: %s", res.Pos.Line, res.Name, res.Message()))
	}
	want := []string{
		"3 wrong action: action is deny, want allow",
		"6 wrong rule: rule is no-paste, want git-locked",
		"9 wrong matches and reason: reason is confined, and no allow rule grants it, want because; matches is git-locked, no-paste, want no-paste",
		"12 a rule where none was expected: rule is git-locked, want none; matches is git-locked, want none",
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("messages, -got +want:\n%s", d)
	}
	if r.OK() || r.Failed() != 4 {
		t.Errorf("ok %v, %d failed", r.OK(), r.Failed())
	}
}

type broken struct{}

func (broken) Votes(context.Context, *rule.Facts, time.Time) (rule.Votes, error) {
	return rule.Votes{}, errors.New("out of order")
}

// TestErrorIsNoPass: what cannot be decided fails, whatever is expected.
func TestErrorIsNoPass(t *testing.T) {
	cfg := load(t, map[string]string{"a.yaml": rules, "a_test.yaml": tests})
	cfg.Voter, cfg.Mutate = broken{}, true
	r := run(t, cfg)
	if r.Failed() != 3 || !strings.Contains(r.Results[0].Message(), "out of order") {
		t.Errorf("%d failed: %s", r.Failed(), r.Results[0].Message())
	}
	if r.Coverage.Percent() != 0 || r.Mutation.Killed != 0 {
		t.Errorf("%v %% covered, %d killed", r.Coverage.Percent(), r.Mutation.Killed)
	}
}

func TestDemands(t *testing.T) {
	files := map[string]string{"a.yaml": rules, "a_test.yaml": tests, "b.yaml": "version: 1\nrules: [{id: lonely, action: alert, to: {port: 1}}]\n"}
	cfg := load(t, files)
	cfg.MinCoverage, cfg.RequireTests = 90, true
	r := run(t, cfg)
	var got []string
	for _, p := range r.Problems {
		got = append(got, fmt.Sprintf("%s %s %s %d", p.Check, p.Pos.File, p.Message, len(p.Related)))
	}
	want := []string{"rule-coverage  60.0 % of the rules decide a case, want 90.0 % 2", "untested-file b.yaml no test: none of its rules decides a case 0"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("problems, -got +want:\n%s", d)
	}
	if r.OK() {
		t.Error("the run is a success")
	}
	cfg.MinCoverage, cfg.RequireTests = 60, false
	if r := run(t, cfg); !r.OK() {
		t.Errorf("60 %% is enough: %v", r.Problems)
	}
}

func TestRunFilters(t *testing.T) {
	cfg := load(t, map[string]string{"a.yaml": rules, "a_test.yaml": tests})
	cfg.Run = regexp.MustCompile("paste|rego one")
	cfg.Rego = []Result{{Name: "rego one"}, {Name: "rego two"}}
	r := run(t, cfg)
	var got []string
	for _, res := range r.Results {
		got = append(got, res.Name)
	}
	if d := cmp.Diff(got, []string{"nobody pastes", "rego one"}); d != "" {
		t.Errorf("ran, -got +want:\n%s", d)
	}
}

// TestExpiryByCase decides each case at its own time.
func TestExpiryByCase(t *testing.T) {
	r := run(t, load(t, map[string]string{
		"a.yaml": "version: 1\nrules: [{id: guest, action: allow, expires: 2026-12-01T00:00:00Z, to: {port: 80}}]\n",
		"a_test.yaml": `version: 1
cases:
  - {name: before, at: 2026-11-30T23:59:59Z, when: {to: "tcp://203.0.113.1:80"}, expect: {action: allow, rule: guest}}
  - {name: after, at: 2026-12-01T00:00:00Z, when: {to: "tcp://203.0.113.1:80"}, expect: {action: alert, rule: none}}
`}))
	if !r.OK() {
		t.Errorf("failed: %+v", r.Results)
	}
}

func TestCatalogueIsWhole(t *testing.T) {
	cfg := load(t, map[string]string{"a.yaml": rules, "a_test.yaml": failing})
	cfg.MinCoverage, cfg.RequireTests, cfg.Mutate = 100, true, true
	for _, f := range run(t, cfg).Findings() {
		if !slices.ContainsFunc(Catalogue(), func(c report.Check) bool { return c.ID == f.Check }) {
			t.Errorf("%s is not in the catalogue", f.Check)
		}
	}
}

const module = `package snitch.custom.office

import rego.v1

deny contains {"id": "late", "reason": "not from here"} if {
	input.to.port == 6667
	input.verdict != "deny"
}
`

// TestCustomRego: custom modules vote in cases, and their own tests run beside
// them.
func TestCustomRego(t *testing.T) {
	files := map[string]string{"a.yaml": rules, "office.rego": module,
		"office_test.rego": `package snitch.custom.office_test

import rego.v1

import data.snitch.custom.office

test_irc if {
	{"id": "late", "reason": "not from here"} in office.deny with input as {"to": {"port": 6667}, "verdict": "alert"}
}

test_wrong if {
	count(office.deny) == 7 with input as {"to": {"port": 1}, "verdict": "alert"}
}

todo_test_later if { false }
`,
		"a_test.yaml": `version: 1
cases:
  - {name: irc, when: {process: {exe: /usr/bin/irc}, to: "tcp://203.0.113.1:6667"}, expect: {action: deny, rule: custom.office.late, reason: not from here}}
`}
	cfg := load(t, files)
	var err error
	if cfg.Rego, err = RegoTests(t.Context(), cfg.Set); err != nil {
		t.Fatal(err)
	}
	r := run(t, cfg)
	var got []string
	for _, res := range r.Results {
		got = append(got, fmt.Sprintf("%s %v %v %s:%d", res.Name, res.Passed(), res.Skipped, res.Pos.File, res.Pos.Line))
	}
	want := []string{"irc true false a_test.yaml:3", "office_test.test_irc true false office_test.rego:7", "office_test.test_wrong false false office_test.rego:11", "office_test.todo_test_later true true office_test.rego:15"}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("results, -got +want:\n%s\n%+v", d, r.Results)
	}
	if r.Passed() != 2 || r.Failed() != 1 || r.Skipped() != 1 || r.OK() {
		t.Errorf("%d passed, %d failed, %d skipped", r.Passed(), r.Failed(), r.Skipped())
	}
}

// TestCustomErrorFails: a package that errs leaves the case without a decision.
func TestCustomErrorFails(t *testing.T) {
	r := run(t, load(t, map[string]string{"a.yaml": rules, "a_test.yaml": tests, "x.rego": `package snitch.custom.x

import rego.v1

deny contains "no" if net.cidr_contains(input.process.exe, "10.0.0.1")
`}))
	for _, res := range r.Results {
		if res.Passed() || !strings.Contains(res.Err, "package x: x.rego:5:") {
			t.Errorf("%s: %q", res.Name, res.Err)
		}
	}
}
