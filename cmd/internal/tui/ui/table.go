package ui

import "strings"

// Column is how a column of a Table is laid out.
type Column struct {
	Title string
	Width int  // cells at least
	Flex  int  // share of the width that is left; 0: fixed
	Max   int  // cells at most of a flexible column; 0: no bound
	Right bool // aligned to the right
	Tail  bool // a cut keeps the end
	Drop  int  // on a narrow terminal those with the highest go first; 0: never
}

// Cell is the content of one column of one row, of any origin.
type Cell struct {
	Text string
	Tone Tone
}

// Table draws the rows that are seen, whatever their number. The zero value is
// an empty one.
type Table struct {
	Columns []Column
	Sorted  int  // column with the mark of the order; -1: none
	Up      bool // smallest first
	// Row fills in the cells of a row, one a column. It is called for rows that
	// are seen only.
	Row func(i int, cells []Cell)

	rows, cursor, offset, page int
}

// Len is the number of rows.
func (t *Table) Len() int { return t.rows }

// Cursor is the row that keys act on, -1 without rows.
func (t *Table) Cursor() int {
	if t.rows == 0 {
		return -1
	}
	return t.cursor
}

// SetRows sets the number of rows; the cursor stays in them.
func (t *Table) SetRows(n int) {
	t.rows = n
	t.Select(t.cursor)
}

// Select puts the cursor on a row.
func (t *Table) Select(i int) { t.cursor = min(max(0, i), max(0, t.rows-1)) }

// Key moves the cursor and reports whether the key does that.
func (t *Table) Key(key string) bool {
	page := max(1, t.page-1)
	switch key {
	case "up", "k":
		t.Select(t.cursor - 1)
	case "down", "j":
		t.Select(t.cursor + 1)
	case "pgup", "ctrl+b":
		t.Select(t.cursor - page)
	case "pgdown", "ctrl+f":
		t.Select(t.cursor + page)
	case "home", "g":
		t.Select(0)
	case "end", "G":
		t.Select(t.rows - 1)
	default:
		return false
	}
	return true
}

// MoveKeys are the bindings of Key, for help.
func MoveKeys() KeyMap {
	return KeyMap{
		{Keys: []string{"up", "down", "j k"}, Help: "move"},
		{Keys: []string{"pgup", "pgdown"}, Help: "a page"},
		{Keys: []string{"g", "G"}, Help: "first, last"},
	}
}

// Find moves the cursor to the next row, in the given direction, whose text has
// needle in it, whatever the case, and reports whether there is one. With here
// the row under the cursor counts.
func (t *Table) Find(needle string, forward, here bool, text func(i int) string) bool {
	needle = strings.ToLower(needle)
	if needle == "" || t.rows == 0 {
		return false
	}
	step, first := 1, 1
	if !forward {
		step = t.rows - 1
	}
	if here {
		first = 0
	}
	for n := first; n <= t.rows; n++ {
		i := (t.cursor + n*step) % t.rows
		if strings.Contains(strings.ToLower(text(i)), needle) {
			t.Select(i)
			return true
		}
	}
	return false
}

// Lines draws the titles and the rows around the cursor: height lines.
func (t *Table) Lines(th *Theme, width, height int) []string {
	if height <= 0 {
		return nil
	}
	widths := t.layout(width - 1)
	lines := append(make([]string, 0, height), t.head(th, width, widths))
	t.page = height - 1
	t.offset = min(max(t.offset, t.cursor-t.page+1), t.cursor)
	t.offset = min(t.offset, max(0, t.rows-t.page))
	cells := make([]Cell, len(t.Columns))
	spans := make([]Span, 0, 2*len(t.Columns)+1)
	for i := t.offset; i < min(t.rows, t.offset+t.page); i++ {
		clear(cells)
		t.Row(i, cells)
		spans = t.spans(spans[:0], widths, cells, i == t.cursor)
		if i == t.cursor {
			lines = append(lines, th.Selected(width, spans...))
		} else {
			lines = append(lines, th.Line(width, spans...))
		}
	}
	for len(lines) < height {
		lines = append(lines, th.Line(width))
	}
	return lines
}

func (t *Table) head(th *Theme, width int, widths []int) string {
	cells := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		cells[i] = Cell{Text: c.Title, Tone: Title}
		if i == t.Sorted {
			mark := "▾"
			if t.Up {
				mark = "▴"
			}
			cells[i].Text, cells[i].Tone = c.Title+mark, Accent
			if c.Right {
				cells[i].Text = mark + c.Title
			}
		}
	}
	return th.Line(width, t.spans(nil, widths, cells, false)...)
}

// spans puts cells side by side; the cursor is marked by more than a colour.
func (t *Table) spans(out []Span, widths []int, cells []Cell, here bool) []Span {
	mark := " "
	if here {
		mark = "▌"
	}
	out = append(out, Span{Text: mark, Tone: Accent, Width: 1})
	first := true
	for i, c := range t.Columns {
		if widths[i] == 0 {
			continue
		}
		if !first {
			out = append(out, Span{Text: " ", Width: 1})
		}
		first = false
		out = append(out, Span{Text: cells[i].Text, Tone: cells[i].Tone, Width: widths[i], Right: c.Right, Tail: c.Tail})
	}
	return out
}

// layout gives each column its cells, 0 to those left out.
func (t *Table) layout(width int) []int {
	widths := make([]int, len(t.Columns))
	used, flex := -1, 0
	for i, c := range t.Columns {
		widths[i] = max(1, c.Width)
		used += widths[i] + 1
	}
	for used > width {
		i := t.dropped(widths)
		if i < 0 {
			break
		}
		used -= widths[i] + 1
		widths[i] = 0
	}
	for i, c := range t.Columns {
		if widths[i] > 0 {
			flex += c.Flex
		}
	}
	t.stretch(widths, width-used, flex)
	return widths
}

// dropped is the column to leave out next, -1 when all that are left stay.
func (t *Table) dropped(widths []int) int {
	best := -1
	for i, c := range t.Columns {
		if widths[i] > 0 && c.Drop > 0 && (best < 0 || c.Drop > t.Columns[best].Drop) {
			best = i
		}
	}
	return best
}

// stretch shares out the cells that are left, more than once where a column
// reached what it may have.
func (t *Table) stretch(widths []int, left, flex int) {
	for left > 0 && flex > 0 {
		given, weight := 0, 0
		for i, c := range t.Columns {
			if widths[i] == 0 || c.Flex == 0 || c.Max > 0 && widths[i] >= c.Max {
				continue
			}
			more := max(1, left*c.Flex/flex)
			if c.Max > 0 {
				more = min(more, c.Max-widths[i])
			}
			more = min(more, left-given)
			widths[i] += more
			given += more
			weight += c.Flex
		}
		if given == 0 {
			return
		}
		left, flex = left-given, weight
	}
}
