package notify

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what is shown, in characters.
const (
	maxTitle = 100
	maxLine  = 160
	maxLines = 16
)

// clean returns s as one printable line of at most most characters. What is not
// printable (control and bidirectional characters, line ends, bytes that are not
// UTF-8) is written as an escape. A cut keeps the end when tail is set, which is
// where paths differ.
func clean(s string, most int, tail bool) string {
	const widest = 10 // bytes of an escape
	if cut := most * widest; len(s) > cut {
		if tail {
			s = s[len(s)-cut:]
		} else {
			s = s[:cut]
		}
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size <= 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(printable(r))
		}
		s = s[size:]
	}
	return clip(b.String(), most, tail)
}

func printable(r rune) string {
	if strconv.IsPrint(r) {
		return string(r)
	}
	quoted := strconv.QuoteRune(r)
	return quoted[1 : len(quoted)-1]
}

// clip cuts s to most characters, one of which then is "…".
func clip(s string, most int, tail bool) string {
	runes := []rune(s)
	switch {
	case len(runes) <= most:
		return s
	case tail:
		return "…" + string(runes[len(runes)-most+1:])
	}
	return string(runes[:most-1]) + "…"
}

// cleanLines cleans each line of s and drops those past the bound.
func cleanLines(s string) string {
	var out []string
	for line := range strings.Lines(s) {
		if len(out) == maxLines {
			out = append(out, "…")
			break
		}
		out = append(out, clean(strings.TrimRight(line, "\r\n"), maxLine, false))
	}
	return strings.Join(out, "\n")
}

// escapeMarkup writes s so that a server which reads markup shows it as it is.
func escapeMarkup(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;").Replace(s)
}
