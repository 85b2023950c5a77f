package ui

import (
	"strings"

	tea "charm.land/bubbletea/v2"
)

// Smallest terminal that is drawn on.
const (
	minWidth  = 20
	minHeight = 4
)

// Screen turns lines into what the terminal shows: exactly height of them.
func Screen(t *Theme, width, height int, lines []string) tea.View {
	if width < minWidth || height < minHeight {
		lines = []string{t.Line(width, Span{Text: "too small"})}
	}
	for len(lines) < height {
		lines = append(lines, t.Line(width))
	}
	v := tea.NewView(strings.Join(lines[:max(0, min(len(lines), height))], "\n"))
	v.AltScreen = true
	return v
}

// Message fills height lines with a sentence, for a view without rows.
func Message(t *Theme, width, height int, words string) []string {
	lines := make([]string, 0, max(0, height))
	parts := Wrap(Clean(words), max(8, width-4))
	first := min(2, max(0, height-len(parts)))
	for len(lines) < height {
		span := Span{}
		if i := len(lines) - first; i >= 0 && i < len(parts) {
			span = Span{Text: "  " + parts[i], Tone: Dim}
		}
		lines = append(lines, t.Line(width, span))
	}
	return lines
}
