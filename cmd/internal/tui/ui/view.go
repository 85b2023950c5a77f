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
