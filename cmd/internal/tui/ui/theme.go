package ui

import (
	"image/color"
	"strings"

	"charm.land/lipgloss/v2"
)

// Tone is what a piece of text is, which decides how it looks. No tone carries
// a meaning that the words do not: a terminal may have no colours.
type Tone uint8

// Tones.
const (
	Plain  Tone = iota
	Dim         // secondary
	Strong      // what a line is about
	Accent      // what can be acted on, and charts
	Good
	Warn
	Bad
	Title // of columns
	tones
)

// Theme is how tones look. The zero value is not usable.
type Theme struct {
	normal, selected [tones]lipgloss.Style
}

// NewTheme makes the theme for a dark or a light background.
func NewTheme(dark bool) *Theme {
	pick := lipgloss.LightDark(dark)
	colour := func(light, dark string) color.Color { return pick(lipgloss.Color(light), lipgloss.Color(dark)) }
	base := lipgloss.NewStyle().Inline(true)
	t := &Theme{}
	t.normal = [tones]lipgloss.Style{
		Plain:  base,
		Dim:    base.Foreground(colour("#6b7280", "#8b93a1")),
		Strong: base.Bold(true),
		Accent: base.Foreground(colour("#0f6ab4", "#6cb6ff")),
		Good:   base.Foreground(colour("#1a7f37", "#7ec699")),
		Warn:   base.Foreground(colour("#9a6700", "#e3b341")),
		Bad:    base.Bold(true).Foreground(colour("#cf222e", "#ff7b72")),
		Title:  base.Foreground(colour("#6b7280", "#8b93a1")).Underline(false).Bold(true),
	}
	back := colour("#dbe9f9", "#24364d")
	for i := range t.normal {
		t.selected[i] = t.normal[i].Background(back)
	}
	t.selected[Plain] = t.selected[Plain].Bold(true)
	return t
}

// Span is a piece of a line: text of any origin and how it is shown.
type Span struct {
	Text  string
	Tone  Tone
	Width int  // cells; 0: as many as it takes
	Right bool // aligned to the right
	Tail  bool // when cut, the end is kept
}

// Line is one line of exactly width cells. Spans that do not fit are cut.
func (t *Theme) Line(width int, spans ...Span) string { return t.line(&t.normal, width, spans) }

// Selected is Line with the look of the row that keys act on.
func (t *Theme) Selected(width int, spans ...Span) string { return t.line(&t.selected, width, spans) }

func (t *Theme) line(styles *[tones]lipgloss.Style, width int, spans []Span) string {
	var b strings.Builder
	left := width
	for i := range spans {
		if left <= 0 {
			break
		}
		s := &spans[i]
		words := Clean(s.Text)
		want := s.Width
		if want <= 0 {
			want = Width(words)
		}
		want = min(want, left)
		if want <= 0 {
			continue
		}
		b.WriteString(styles[s.Tone].Render(Fit(words, want, s.Right, s.Tail)))
		left -= want
	}
	if left > 0 {
		b.WriteString(styles[Plain].Render(strings.Repeat(" ", left)))
	}
	return b.String()
}

// Split is a line with spans at its left and others at its right end; where
// they meet, the left ones are cut.
func (t *Theme) Split(width int, left, right []Span) string {
	n := 0
	for i := range right {
		right[i].Text = Clean(right[i].Text)
		if right[i].Width == 0 {
			right[i].Width = Width(right[i].Text)
		}
		n += right[i].Width
	}
	if n >= width {
		return t.Line(width, left...)
	}
	return t.Line(width-n, left...) + t.Line(n, right...)
}
