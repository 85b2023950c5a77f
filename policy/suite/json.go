package suite

import (
	"encoding/json"
	"fmt"
	"io"

	"snitch/policy/report"
)

type jsonReport struct {
	Version   int           `json:"version"`
	OK        bool          `json:"ok"`
	Passed    int           `json:"passed"`
	Failed    int           `json:"failed"`
	Skipped   int           `json:"skipped"`
	ElapsedMS float64       `json:"elapsed_ms"`
	Results   []jsonResult  `json:"results"`
	Coverage  jsonCoverage  `json:"coverage"`
	Mutation  *jsonMutation `json:"mutation,omitempty"`
	Problems  []jsonProblem `json:"problems"`
}

type jsonResult struct {
	Name     string           `json:"name"`
	Passed   bool             `json:"passed"`
	File     string           `json:"file"`
	Line     int              `json:"line"`
	Col      int              `json:"col"`
	Action   string           `json:"action,omitempty"`
	Rule     string           `json:"rule,omitempty"`
	Reason   string           `json:"reason,omitempty"`
	Matches  []string         `json:"matches,omitempty"`
	Failures []jsonDifference `json:"failures,omitempty"`
	Error    string           `json:"error,omitempty"`
	Skipped  bool             `json:"skipped,omitempty"`
}

type jsonDifference struct {
	Field string `json:"field"`
	Want  string `json:"want"`
	Got   string `json:"got"`
}

type jsonCoverage struct {
	Percent float64    `json:"percent"`
	Rules   []jsonRule `json:"rules"`
	Files   []jsonFile `json:"files"`
}

type jsonRule struct {
	ID      string `json:"id"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Matched int    `json:"matched"`
	Decided int    `json:"decided"`
	Covered bool   `json:"covered"`
}

type jsonFile struct {
	File    string `json:"file"`
	Rules   int    `json:"rules"`
	Covered int    `json:"covered"`
}

type jsonMutation struct {
	Score     float64      `json:"score"`
	Killed    int          `json:"killed"`
	Total     int          `json:"total"`
	Survivors []jsonMutant `json:"survivors"`
}

type jsonMutant struct {
	Rule   string `json:"rule"`
	Change string `json:"change"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Col    int    `json:"col"`
}

type jsonProblem struct {
	Check   string `json:"check"`
	Message string `json:"message"`
	File    string `json:"file,omitempty"`
}

// JSON writes a run as one object (docs/policy-commands.md).
func JSON(w io.Writer, place report.Place, r *Report) error {
	out := jsonReport{Version: 1, OK: r.OK(), Passed: r.Passed(), Failed: r.Failed(), Skipped: r.Skipped(), ElapsedMS: float64(r.Elapsed.Microseconds()) / 1000,
		Results: []jsonResult{}, Problems: []jsonProblem{}, Coverage: jsonCoverage{Percent: r.Coverage.Percent(), Rules: []jsonRule{}, Files: []jsonFile{}}}
	for i := range r.Results {
		out.Results = append(out.Results, jsonOf(place, &r.Results[i]))
	}
	for _, c := range r.Coverage.Rules {
		out.Coverage.Rules = append(out.Coverage.Rules, jsonRule{c.ID, place.Path(c.Pos.File), c.Pos.Line, c.Matched, c.Decided, c.Done})
	}
	for _, f := range r.Coverage.Files {
		out.Coverage.Files = append(out.Coverage.Files, jsonFile{place.Path(f.File), f.Rules, f.Done})
	}
	if m := r.Mutation; m != nil {
		out.Mutation = &jsonMutation{Score: m.Score(), Killed: m.Killed, Total: m.Total(), Survivors: []jsonMutant{}}
		for _, s := range m.Survivors {
			out.Mutation.Survivors = append(out.Mutation.Survivors, jsonMutant{s.ID, s.Change, place.Path(s.Pos.File), s.Pos.Line, s.Pos.Col})
		}
	}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, jsonProblem{p.Check, p.Message, place.Path(p.Pos.File)})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return fmt.Errorf("encode JSON report: %w", err)
	}
	return write(w, string(text)+"\n")
}

func jsonOf(place report.Place, r *Result) jsonResult {
	j := jsonResult{Name: r.Name, Passed: r.Passed() && !r.Skipped, File: place.Path(r.Pos.File), Line: r.Pos.Line, Col: r.Pos.Col, Error: r.Err, Skipped: r.Skipped}
	for _, d := range r.Differences {
		j.Failures = append(j.Failures, jsonDifference(d))
	}
	if d := r.Decision; d != nil {
		j.Action, j.Rule, j.Reason = d.Action.String(), d.Rule, d.Reason
		for _, m := range d.Matches {
			j.Matches = append(j.Matches, m.ID)
		}
	}
	return j
}
