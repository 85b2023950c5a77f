package ui

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"snitch/cmd/internal/text"
)

// maxText bounds the bytes of one text that are looked at: a line shows fewer.
const maxText = 4096

// maxMarks bounds the combining marks on one character.
const maxMarks = 3

// Clean makes s safe to show and of one width: text.Clean escapes what is not
// printable, and here goes what terminals measure differently (emoji that are
// put together, flags that are not, heaps of combining marks), so that a
// column never shifts.
func Clean(s string) string {
	s = s[:min(len(s), maxText)]
	s = text.Clean(s)
	if isASCII(s) {
		return s
	}
	if s = escape(s, joins); steady(s) {
		return s
	}
	return escape(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// steady reports whether terminals agree on the cells that cleaned s takes,
// also between other text: its first character does not join what stands
// before it, nor its last one what follows. What may join a neighbour joins its
// like, too (parts of Hangul syllables).
func steady(s string) bool {
	n := ansi.StringWidthWc(s)
	for _, beside := range []string{".", s} {
		between := beside + s + beside
		want := n + 2*ansi.StringWidthWc(beside)
		if ansi.StringWidthWc(between) != want || ansi.StringWidth(between) != want {
			return false
		}
	}
	return n == ansi.StringWidth(s) && !heaped(s)
}

// Width is the number of cells that cleaned s takes.
func Width(s string) int {
	if isASCII(s) {
		return len(s)
	}
	return ansi.StringWidthWc(s)
}

// Fit returns cleaned s in exactly width cells, padded (on the left if right is
// set) or cut with "…"; tail keeps the end, which is where paths differ.
func Fit(s string, width int, right, tail bool) string {
	if width <= 0 {
		return ""
	}
	n := Width(s)
	if n > width {
		s = cut(s, n, width, tail)
		n = Width(s)
	}
	pad := strings.Repeat(" ", max(0, width-n))
	if right {
		return pad + s
	}
	return s + pad
}

// cut shortens s of n cells to width or, where a wide character is cut, fewer.
func cut(s string, n, width int, tail bool) string {
	if !tail {
		return ansi.TruncateWc(s, width, "…")
	}
	short := ansi.TruncateLeftWc(s, n-width+1, "…")
	if Width(short) > width {
		short = ansi.TruncateLeftWc(s, n-width+2, "…")
	}
	return short
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// joins are the characters that change what stands before them: variation
// selectors, skin tones, and the letters that flags are made of.
func joins(r rune) bool {
	return r >= 0xfe00 && r <= 0xfe0f || r >= 0x1f3fb && r <= 0x1f3ff || r >= 0x1f1e6 && r <= 0x1f1ff || r >= 0xe0100 && r <= 0xe01ef
}

func heaped(s string) bool {
	n := 0
	for _, r := range s {
		if unicode.In(r, unicode.Mn, unicode.Me) {
			n++
		} else {
			n = 0
		}
		if n > maxMarks {
			return true
		}
	}
	return false
}

func escape(s string, which func(rune) bool) string {
	if !strings.ContainsFunc(s, which) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if which(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
