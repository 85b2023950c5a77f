package suite

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"snitch/policy/report"
)

// TAP writes a run in the Test Anything Protocol, version 14.
func TAP(w io.Writer, place report.Place, r *Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n", len(r.Results)+len(r.Problems))
	n := 0
	point := func(ok bool, name string, diagnostics map[string]any) error {
		n++
		word := "ok"
		if !ok {
			word = "not ok"
		}
		fmt.Fprintf(&b, "%s %d - %s\n", word, n, name)
		if ok {
			return nil
		}
		// JSON is YAML, and leaves no doubt about what is inside a text.
		text, err := json.Marshal(diagnostics)
		if err != nil {
			return fmt.Errorf("encode TAP report: %w", err)
		}
		fmt.Fprintf(&b, "  ---\n  %s\n  ...\n", text)
		return nil
	}
	for i := range r.Results {
		res := &r.Results[i]
		if err := point(res.Passed(), tapText(res.Name)+skip(res), map[string]any{"message": res.Message(), "at": place.At(res.Pos).String(), "details": details(place, res)}); err != nil {
			return err
		}
	}
	for _, f := range r.Problems {
		if err := point(false, tapText(f.Check+" "+f.Pos.File), map[string]any{"message": f.Message, "details": related(place, f)}); err != nil {
			return err
		}
	}
	return write(w, b.String())
}

// tapText escapes what would begin a directive, and line ends.
var tapReplacer = strings.NewReplacer(`\`, `\\`, "#", `\#`)

// skip is the directive of a test that is not done.
func skip(r *Result) string {
	if r.Skipped {
		return " # SKIP"
	}
	return ""
}

func tapText(s string) string { return report.Printable(tapReplacer.Replace(s)) }
