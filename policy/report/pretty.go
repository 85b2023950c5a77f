package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// Style is how text looks on a terminal; the zero value is plain.
type Style struct{ Color bool }

// Colours of a terminal (ECMA-48).
const (
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Cyan   = "36"
	Dim    = "2"
	Bold   = "1"
)

// Paint returns s in a colour, or as it is.
func (s Style) Paint(colour, text string) string {
	if !s.Color || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

var levelColours = map[Level]string{Error: Red, Warning: Yellow, Info: Cyan}

// Pretty writes one line a finding, as compilers do: file:line:col: level:
// message (check).
func Pretty(w io.Writer, place Place, style Style, findings []Finding) error {
	var b strings.Builder
	for _, f := range findings {
		level := style.Paint(levelColours[f.Level], f.Level.String())
		fmt.Fprintf(&b, "%s%s: %s %s\n", prettyPosition(place, f), level, Printable(f.Message), style.Paint(Dim, "("+f.Check+")"))
		for _, r := range f.Related {
			fmt.Fprintf(&b, "    %s: %s\n", Printable(place.At(r.Pos).String()), Printable(r.Message))
		}
	}
	return write(w, b.String())
}

func prettyPosition(place Place, f Finding) string {
	switch {
	case f.Pos.File == "":
		return ""
	case f.Pos.Line == 0:
		return Printable(place.Path(f.Pos.File)) + ": "
	}
	return Printable(place.At(f.Pos).String()) + ": "
}

// Printable escapes every character that is not printable, so that no rule file
// moves the terminal of who tests it.
func Printable(s string) string {
	clean := true
	for _, r := range s {
		clean = clean && r != unicode.ReplacementChar && unicode.IsPrint(r)
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
