package main

import (
	"fmt"
	"html"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Looks of the pictures, in pixels.
const (
	cellWidth  = 8.4
	lineHeight = 18
	margin     = 14
	background = "#10151c"
	foreground = "#d7dee8"
)

// style is how text looks.
type style struct {
	fg, bg string
	bold   bool
}

// svg draws a captured screen.
func svg(pane string, width int) []byte {
	lines := strings.Split(strings.TrimRight(pane, "\n"), "\n")
	var b strings.Builder
	w, h := float64(width)*cellWidth+2*margin, len(lines)*lineHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" height="%d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14">`, w, h, w, h)
	fmt.Fprintf(&b, "\n<rect width=\"100%%\" height=\"100%%\" rx=\"8\" fill=\"%s\"/>\n<g fill=\"%s\">\n", background, foreground)
	st := style{}
	for y, line := range lines {
		drawLine(&b, line, y, &st)
	}
	b.WriteString("</g>\n</svg>\n")
	return []byte(b.String())
}

// drawLine draws the runs of one look. A run has its length, so that columns
// stand below each other whatever font there is.
func drawLine(b *strings.Builder, line string, y int, st *style) {
	x := 0
	for line != "" {
		if i := strings.Index(line, "\x1b["); i == 0 {
			end := strings.IndexByte(line, 'm')
			if end < 0 {
				return
			}
			st.change(line[2:end])
			line = line[end+1:]
			continue
		} else if i < 0 {
			x += drawRun(b, line, x, y, st)
			line = ""
		} else {
			x += drawRun(b, line[:i], x, y, st)
			line = line[i:]
		}
	}
}

func drawRun(b *strings.Builder, text string, x, y int, st *style) int {
	cells := ansi.StringWidthWc(text)
	left, top := margin+float64(x)*cellWidth, margin+y*lineHeight
	if st.bg != "" {
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", left, top, float64(cells)*cellWidth+0.3, lineHeight, st.bg)
	}
	looks := ""
	if st.fg != "" {
		looks += ` fill="` + st.fg + `"`
	}
	if st.bold {
		looks += ` font-weight="bold"`
	}
	for text != "" { // blanks of more than one cell are left out: SVG has one only
		words, rest, _ := strings.Cut(text, "  ")
		if words := strings.TrimRight(words, " "); words != "" {
			in := strings.TrimLeft(words, " ")
			at := left + float64(len(words)-len(in))*cellWidth
			fmt.Fprintf(b, `<text x="%.1f" y="%d" textLength="%.1f"%s>%s</text>`+"\n", at, top+13, float64(ansi.StringWidthWc(in))*cellWidth, looks, html.EscapeString(in))
		}
		left += float64(ansi.StringWidthWc(words)+2) * cellWidth
		text = rest
	}
	return cells
}

// change applies the numbers of one SGR sequence.
func (s *style) change(numbers string) {
	parts := strings.FieldsFunc(numbers, func(r rune) bool { return r == ';' || r == ':' })
	if len(parts) == 0 {
		*s = style{}
	}
	for len(parts) > 0 {
		n, _ := strconv.Atoi(parts[0])
		used := 1
		switch {
		case n == 0:
			*s = style{}
		case n == 1:
			s.bold = true
		case n == 22:
			s.bold = false
		case n == 39:
			s.fg = ""
		case n == 49:
			s.bg = ""
		case n == 38 && len(parts) >= 5:
			s.fg, used = rgb(parts[2:5]), 5
		case n == 48 && len(parts) >= 5:
			s.bg, used = rgb(parts[2:5]), 5
		}
		parts = parts[used:]
	}
}

func rgb(parts []string) string {
	var c [3]int
	for i, p := range parts {
		c[i], _ = strconv.Atoi(p)
	}
	return fmt.Sprintf("#%02x%02x%02x", c[0]&255, c[1]&255, c[2]&255)
}
