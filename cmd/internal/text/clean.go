package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clean returns s with every rune that is not printable written as an escape
// (\x1b, \u202e), and so every byte that is not UTF-8. Escaping rather than
// dropping keeps "ev\x1bil" from being read as "evil". Spaces other than U+0020
// count as not printable, and so do all format characters (bidirectional
// controls, zero width, byte order mark).
func Clean(s string) string {
	if isClean(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			escape(&b, r)
		}
		i += size
	}
	return b.String()
}

func isClean(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func escape(b *strings.Builder, r rune) {
	switch {
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < 0x80:
		fmt.Fprintf(b, `\x%02x`, r)
	case r < 0x10000:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// Width is the number of terminal cells that a cleaned string takes: two for
// East Asian wide characters and emoji, none for combining marks.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// wide lists the ranges of Unicode's East Asian Width W and F that people meet.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0xa4cf, 1}, {0xac00, 0xd7a3, 1},
		{0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1}},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x20000, 0x3fffd, 1}},
}

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// Fit returns cleaned string s in exactly width cells: padded on the right, or
// cut with "…". A cut keeps the end when tail is set, which is where paths and
// addresses differ. Width 0 or less returns s as it is.
func Fit(s string, width int, tail bool) string {
	n := Width(s)
	switch {
	case width <= 0 || n == width:
		return s
	case n < width:
		return s + strings.Repeat(" ", width-n)
	case tail:
		return pad(cutHead(s, n-width+1), width)
	}
	return pad(cutTail(s, width-1), width)
}

// cutHead drops at least drop cells from the front.
func cutHead(s string, drop int) string {
	for i, r := range s {
		if drop <= 0 {
			return "…" + s[i:]
		}
		drop -= runeWidth(r)
	}
	return "…"
}

// cutTail keeps at most keep cells.
func cutTail(s string, keep int) string {
	for i, r := range s {
		if keep -= runeWidth(r); keep < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-Width(s)))
}
