package report

import "io"

type jsonReport struct {
	Version  int           `json:"version"`
	Errors   int           `json:"errors"`
	Warnings int           `json:"warnings"`
	Infos    int           `json:"infos"`
	Findings []jsonFinding `json:"findings"`
}

type jsonFinding struct {
	Level   string      `json:"level"`
	Check   string      `json:"check"`
	Rule    string      `json:"rule,omitempty"`
	Message string      `json:"message"`
	File    string      `json:"file,omitempty"`
	Line    int         `json:"line,omitempty"`
	Col     int         `json:"col,omitempty"`
	Related []jsonPlace `json:"related,omitempty"`
}

type jsonPlace struct {
	Message string `json:"message"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Col     int    `json:"col"`
}

// JSON writes findings as one object: version, errors, warnings, infos (how many
// there are) and findings (level, check, rule, message, file, line, col, related).
func JSON(w io.Writer, place Place, findings []Finding) error {
	out := jsonReport{Version: 1, Errors: Count(findings, Error), Warnings: Count(findings, Warning), Infos: Count(findings, Info), Findings: []jsonFinding{}}
	for _, f := range findings {
		j := jsonFinding{Level: f.Level.String(), Check: f.Check, Rule: f.Rule, Message: f.Message,
			File: place.Path(f.Pos.File), Line: f.Pos.Line, Col: f.Pos.Col}
		for _, r := range f.Related {
			at := place.At(r.Pos)
			j.Related = append(j.Related, jsonPlace{Message: r.Message, File: at.File, Line: at.Line, Col: at.Col})
		}
		out.Findings = append(out.Findings, j)
	}
	return writeIndented(w, out)
}
