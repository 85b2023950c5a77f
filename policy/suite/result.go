package suite

import (
	"fmt"
	"strings"
	"time"

	"snitch/policy/report"
	"snitch/policy/rule"
)

// Result is what became of one case.
type Result struct {
	Name        string
	Pos         rule.Position
	Differences []Difference // what is not as expected; empty: it passed
	// Err says why there is no decision: an error is never a pass.
	Err     string
	Skipped bool // a test in Rego that is marked as not done
	Elapsed time.Duration
	// Decision is that of a YAML case, nil for a test in Rego.
	Decision *rule.Decision
}

// Difference is one expectation that did not come true.
type Difference struct {
	Field string // as in the test file: "expect.action"
	Want  string
	Got   string
}

// Passed reports whether nothing was otherwise than expected.
func (r *Result) Passed() bool { return r.Err == "" && len(r.Differences) == 0 }

// Message is what is wrong, in one line; "" when it passed.
func (r *Result) Message() string {
	if r.Err != "" {
		return r.Err
	}
	var parts []string
	for _, d := range r.Differences {
		parts = append(parts, fmt.Sprintf("%s is %s, want %s", strings.TrimPrefix(d.Field, "expect."), orNothing(d.Got), orNothing(d.Want)))
	}
	return strings.Join(parts, "; ")
}

func orNothing(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// why is what decided, for the person who looks for the reason of a failure.
func (r *Result) why(place report.Place) []string {
	if r.Decision == nil {
		return nil
	}
	d := r.Decision
	var out []string
	if d.Rule == "" {
		out = append(out, d.Reason)
	} else {
		out = append(out, fmt.Sprintf("decided by %s (%s) at %s: %s", d.Rule, d.Action, place.At(d.Pos), d.Reason))
	}
	for _, m := range d.Matches {
		if m.ID == d.Rule {
			continue
		}
		line := fmt.Sprintf("also matched %s (%s) at %s", m.ID, m.Action, place.At(m.Pos))
		if m.Mode.String() == "audit" {
			line += ", mode audit"
		}
		out = append(out, line)
	}
	return out
}

// Report is what a run found.
type Report struct {
	Results  []Result // in the order of the files
	Coverage Coverage
	Mutation *Mutation // nil when it was not asked for
	// Problems are what else fails the run: coverage below the bound, files
	// without tests.
	Problems []report.Finding
	Elapsed  time.Duration
}

// Failed is the number of cases that did not pass.
func (r *Report) Failed() int {
	n := 0
	for i := range r.Results {
		if !r.Results[i].Passed() {
			n++
		}
	}
	return n
}

// Skipped is the number of tests that were not run.
func (r *Report) Skipped() int {
	n := 0
	for i := range r.Results {
		if r.Results[i].Skipped {
			n++
		}
	}
	return n
}

// Passed is the number of cases that passed.
func (r *Report) Passed() int { return len(r.Results) - r.Failed() - r.Skipped() }

// OK reports whether the run is a success.
func (r *Report) OK() bool { return r.Failed() == 0 && len(r.Problems) == 0 }

// Checks of a run, as reports name them.
const (
	CheckTest     = "policy-test"
	CheckCoverage = "rule-coverage"
	CheckUntested = "untested-file"
	CheckMutant   = "surviving-mutant"
)

// Catalogue describes the checks.
func Catalogue() []report.Check {
	return []report.Check{
		{ID: CheckTest, Short: "A test of the rules that failed"},
		{ID: CheckCoverage, Short: "Fewer rules decide a case than were asked for"},
		{ID: CheckUntested, Short: "A file of rules without a test"},
		{ID: CheckMutant, Short: "A mistake in a rule that no test would notice"},
	}
}

// Findings are the failures, the problems and the surviving mutants, for the
// formats that annotate files.
func (r *Report) Findings() []report.Finding {
	var out []report.Finding
	for i := range r.Results {
		if res := &r.Results[i]; !res.Passed() {
			f := report.Finding{Level: report.Error, Check: CheckTest, Message: fmt.Sprintf("%s: %s", res.Name, res.Message()), Pos: res.Pos}
			if d := res.Decision; d != nil && d.Rule != "" {
				f.Related = []report.Related{{Message: fmt.Sprintf("decided by %s (%s)", d.Rule, d.Action), Pos: d.Pos}}
			}
			out = append(out, f)
		}
	}
	out = append(out, r.Problems...)
	if r.Mutation != nil {
		for _, m := range r.Mutation.Survivors {
			out = append(out, report.Finding{Level: report.Warning, Check: CheckMutant, Rule: m.ID, Pos: m.Pos,
				Message: fmt.Sprintf("no test notices this change of rule %s: %s", m.ID, m.Change)})
		}
	}
	return out
}
