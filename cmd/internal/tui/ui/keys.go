package ui

import (
	"slices"
	"strings"
)

// Binding is what keys do. The help and the hints are made of bindings, so
// that they cannot say something else.
type Binding struct {
	Action string   // what Update asks for
	Keys   []string // as bubbletea names them; the first two are shown
	Help   string   // a line of the help
	Hint   string   // a word for the bottom line; "": not shown there
}

// KeyMap is the bindings of one view, in the order of the help.
type KeyMap []Binding

// Action returns what a key does, "" for nothing.
func (m KeyMap) Action(key string) string {
	for i := range m {
		if slices.Contains(m[i].Keys, key) {
			return m[i].Action
		}
	}
	return ""
}

// Names are the keys of a binding for people.
func (b *Binding) Names() string {
	shown := make([]string, 0, 3)
	for _, k := range b.Keys[:min(3, len(b.Keys))] {
		shown = append(shown, keyName(k))
	}
	return strings.Join(shown, " ")
}

func keyName(k string) string {
	switch k {
	case "up":
		return "↑"
	case "down":
		return "↓"
	case "left":
		return "←"
	case "right":
		return "→"
	case "enter":
		return "⏎"
	case "backspace":
		return "⌫"
	case "tab":
		return "⇥"
	case "shift+tab":
		return "⇧⇥"
	case "pgup":
		return "PgUp"
	case "pgdown":
		return "PgDn"
	}
	return k
}

// Hints is the bottom line: the keys that matter most at the left, as many as
// there is room for beside those that are always there.
func Hints(t *Theme, width int, keys, always KeyMap) string {
	right, used := hints(always, width/2)
	left, _ := hints(keys, width-used)
	return t.Split(width, left, right)
}

func hints(m KeyMap, width int) (spans []Span, used int) {
	for i := range m {
		b := &m[i]
		if b.Hint == "" {
			continue
		}
		key, word := keyName(b.Keys[0]), " "+b.Hint
		n := Width(key) + Width(word) + 2
		if used+n > width {
			continue
		}
		used += n
		spans = append(spans, Span{Text: " " + key, Tone: Accent}, Span{Text: word, Tone: Dim}, Span{Text: " "})
	}
	return spans, used
}

// Help lists all bindings, in as many columns as fit, at most height lines from
// the scroll offset on. rows is how many lines there are in all.
func (m KeyMap) Help(t *Theme, width, height, offset int) (lines []string, rows int) {
	const keys, gap = 12, 2
	widest := 0
	for i := range m {
		widest = max(widest, Width(m[i].Help))
	}
	columns := max(1, min(3, width/(keys+widest+gap)))
	rows = (len(m) + columns - 1) / columns
	offset = min(max(0, offset), max(0, rows-height))
	for y := offset; y < min(rows, offset+height); y++ {
		var spans []Span
		for x := range columns {
			i := x*rows + y
			if i >= len(m) {
				break
			}
			spans = append(spans, Span{Text: m[i].Names(), Tone: Accent, Width: keys - 1, Right: true}, Span{Text: " "},
				Span{Text: " " + m[i].Help, Width: width/columns - keys})
		}
		lines = append(lines, t.Line(width, spans...))
	}
	return lines, rows
}

// HelpPage fills a screen with the help; scroll is kept within it.
func HelpPage(t *Theme, keys KeyMap, title string, width, height int, scroll *int) []string {
	room := max(1, height-3)
	lines, rows := keys.Help(t, width, room, *scroll)
	*scroll = min(*scroll, max(0, rows-room))
	foot := "any key: back"
	if rows > room {
		foot = "↑ ↓ more, any other key: back"
	}
	page := append([]string{t.Line(width, Span{Text: " " + title, Tone: Strong}), t.Line(width)}, lines...)
	for len(page) < height-1 {
		page = append(page, t.Line(width))
	}
	return append(page, t.Line(width, Span{Text: " " + foot, Tone: Dim}))
}
