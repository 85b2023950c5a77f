package suite

import (
	"fmt"
	"io"
	"strings"

	"snitch/policy/report"
)

// Pretty writes a run for people: every failure with what decided, then the
// coverage by file, the surviving mutants, and one line that sums up. With
// verbose the cases that passed have a line too.
func Pretty(w io.Writer, place report.Place, style report.Style, verbose bool, r *Report) error {
	p := printer{place: place, style: style}
	for i := range r.Results {
		if res := &r.Results[i]; !res.Passed() || res.Skipped || verbose {
			p.result(res)
		}
	}
	p.coverage(&r.Coverage)
	if r.Mutation != nil {
		p.mutation(r.Mutation)
	}
	for _, f := range r.Problems {
		p.problem(f)
	}
	p.sum(r)
	return write(w, p.String())
}

// printer collects the text.
type printer struct {
	strings.Builder
	place report.Place
	style report.Style
}

func (p *printer) line(format string, args ...any) {
	p.WriteString(fmt.Sprintf(format, args...) + "\n")
}

func (p *printer) result(r *Result) {
	name := report.Printable(r.Name)
	at := p.style.Paint(report.Dim, report.Printable(p.place.At(r.Pos).String()))
	if r.Skipped {
		p.line("%s %s %s", p.style.Paint(report.Yellow, "skip"), name, at)
		return
	}
	if r.Passed() {
		p.line("%s %s %s", p.style.Paint(report.Green, "ok  "), name, at)
		return
	}
	p.line("%s %s %s", p.style.Paint(report.Red, "FAIL"), p.style.Paint(report.Bold, name), at)
	if r.Err != "" {
		p.line("     %s", report.Printable(r.Err))
	}
	for _, d := range r.Differences {
		field := strings.TrimPrefix(d.Field, "expect.")
		p.line("     %-7s %s %s", field, p.style.Paint(report.Red, "got "), report.Printable(orNothing(d.Got)))
		p.line("     %-7s %s %s", "", p.style.Paint(report.Green, "want"), report.Printable(orNothing(d.Want)))
	}
	for _, why := range r.why(p.place) {
		p.line("     %s", report.Printable(why))
	}
}

func (p *printer) coverage(c *Coverage) {
	if len(c.Rules) == 0 {
		return
	}
	width := 0
	for _, f := range c.Files {
		width = max(width, len([]rune(report.Printable(p.place.Path(f.File)))))
	}
	p.line("coverage")
	for _, f := range c.Files {
		p.line("  %-*s %3.0f %%  %d of %d", width, report.Printable(p.place.Path(f.File)), percent(f.Done, f.Rules), f.Done, f.Rules)
	}
	for _, r := range c.Rules {
		if !r.Done {
			what := "matches no case"
			if r.Matched > 0 {
				what = fmt.Sprintf("decides none of the %d cases that it matches", r.Matched)
			}
			p.line("  %s %s", p.style.Paint(report.Yellow, report.Printable(p.place.At(r.Pos).String())+":"), fmt.Sprintf("%s %s", r.ID, what))
		}
	}
}

func (p *printer) mutation(m *Mutation) {
	p.line("mutation score %.0f %%: %d of %d changed rules were noticed", m.Score(), m.Killed, m.Total())
	for _, s := range m.Survivors {
		p.line("  %s %s: %s", p.style.Paint(report.Yellow, report.Printable(p.place.At(s.Pos).String())+":"), s.ID, report.Printable(s.Change))
	}
}

func (p *printer) problem(f report.Finding) {
	at := ""
	if f.Pos.File != "" {
		at = report.Printable(p.place.Path(f.Pos.File)) + ": "
	}
	p.line("%s %s%s", p.style.Paint(report.Red, "FAIL"), at, report.Printable(f.Message))
}

func (p *printer) sum(r *Report) {
	word, colour := "ok", report.Green
	if !r.OK() {
		word, colour = "FAIL", report.Red
	}
	skipped := ""
	if n := r.Skipped(); n > 0 {
		skipped = fmt.Sprintf(", %d skipped", n)
	}
	p.line("%s  %d passed, %d failed%s, %.0f %% of %d rules covered", p.style.Paint(colour, word), r.Passed(), r.Failed(), skipped, r.Coverage.Percent(), len(r.Coverage.Rules))
}
