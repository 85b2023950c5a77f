package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snitch/cmd/internal/tui/ui"
)

// column is one of the table: how it looks, how it is sorted, what is in it.
type column struct {
	ui.Column
	order  Order
	sorted bool // order sorts by this one
	cell   func(m *Model, r *Row) ui.Cell
}

const sparkWidth = 12

// columns are those of a view.
func columns(v View, u ui.Units) []column {
	w := u.Width()
	name := column{Column: ui.Column{Title: strings.ToUpper(title(v)), Width: 12, Flex: 3, Max: 48}, order: ByName, sorted: true, cell: nameCell}
	numbers := []column{
		{Column: ui.Column{Title: "DOWN/s", Width: w, Right: true, Drop: 1}, cell: func(m *Model, r *Row) ui.Cell { return m.rate(r.Down) }},
		{Column: ui.Column{Title: "UP/s", Width: w, Right: true, Drop: 1}, cell: func(m *Model, r *Row) ui.Cell { return m.rate(r.Up) }},
		{Column: ui.Column{Title: "RATE", Width: sparkWidth, Drop: 6}, order: ByRate, sorted: true, cell: sparkCell},
		{Column: ui.Column{Title: "RECEIVED", Width: w + 1, Right: true, Drop: 5}, order: ByReceived, sorted: true,
			cell: func(m *Model, r *Row) ui.Cell { return m.bytes(r.Received) }},
		{Column: ui.Column{Title: "SENT", Width: w, Right: true, Drop: 4}, order: BySent, sorted: true,
			cell: func(m *Model, r *Row) ui.Cell { return m.bytes(r.Sent) }},
	}
	verdict := column{Column: ui.Column{Title: "VERDICT", Width: 14, Drop: 3}, cell: verdictCell}
	conns := column{Column: ui.Column{Title: "CONNS", Width: 6, Right: true, Drop: 2}, order: ByConnections, sorted: true, cell: connsCell}
	user := column{Column: ui.Column{Title: "USER", Width: 9, Drop: 7}, cell: userCell}
	switch v {
	case Connections:
		peer := column{Column: ui.Column{Title: "  PEER", Width: 16, Flex: 4, Max: 64}, cell: peerCell}
		proto := column{Column: ui.Column{Title: "PROTO", Width: 5, Drop: 7}, cell: func(_ *Model, r *Row) ui.Cell { return ui.Cell{Text: r.Record.Proto, Tone: ui.Dim} }}
		name.Width = 10
		return append([]column{name, peer, proto}, append(numbers, verdict)...)
	case Listening:
		port := column{Column: ui.Column{Title: "PORT", Width: 11, Right: true}, cell: portCell}
		addr := column{Column: ui.Column{Title: "ADDRESS", Width: 10, Flex: 2, Max: 40, Drop: 1}, cell: addrCell}
		return append([]column{port, addr, name, user}, append(numbers[3:], verdict)...)
	case Programs:
		ports := column{Column: ui.Column{Title: "LISTENS", Width: 8, Flex: 1, Max: 20, Drop: 8}, cell: portsCell}
		return append([]column{name, user, conns, ports}, append(numbers, verdict)...)
	}
	return append([]column{name, conns}, append(numbers, verdict)...)
}

func title(v View) string {
	switch v {
	case Destinations:
		return "destination"
	case Users:
		return "user"
	case Countries:
		return "country"
	}
	return "program"
}

// layout makes the columns anew: the view, the order or the units changed.
func (m *Model) layout() {
	cols := columns(m.ask.View, m.units)
	m.table.Columns = m.table.Columns[:0]
	m.table.Sorted, m.table.Up = -1, m.ask.Reverse
	for i, c := range cols {
		m.table.Columns = append(m.table.Columns, c.Column)
		if c.sorted && c.order == m.ask.Order {
			m.table.Sorted = i
		}
	}
	if m.ask.Order == ByName {
		m.table.Up = !m.table.Up
	}
	m.table.Row = func(i int, cells []ui.Cell) {
		for j := range cols {
			cells[j] = cols[j].cell(m, m.rows[i])
			if m.rows[i].Ended && cells[j].Tone != ui.Bad {
				cells[j].Tone = ui.Dim
			}
		}
	}
}

func (m *Model) rate(n uint64) ui.Cell {
	tone := ui.Plain
	if n < 1000 {
		tone = ui.Dim
	}
	return ui.Cell{Text: m.units.Rate(n), Tone: tone}
}

func (m *Model) bytes(n uint64) ui.Cell {
	tone := ui.Plain
	if n == 0 {
		tone = ui.Dim
	}
	return ui.Cell{Text: m.units.Bytes(n), Tone: tone}
}

func nameCell(_ *Model, r *Row) ui.Cell {
	if r.Name == "" {
		return ui.Cell{Text: "(none)", Tone: ui.Dim}
	}
	return ui.Cell{Text: r.Name, Tone: ui.Strong}
}

// sparkCell is against the fastest of the row itself: how it went, not how much.
func sparkCell(_ *Model, r *Row) ui.Cell {
	return ui.Cell{Text: ui.Spark(r.History[:samples-1], sparkWidth, slices.Max(r.History[:])), Tone: ui.Accent}
}

func verdictCell(_ *Model, r *Row) ui.Cell {
	c := ui.Cell{Text: r.Verdict(), Tone: ui.Dim}
	switch {
	case r.Denied+r.Would > 0:
		c.Tone = ui.Bad
	case r.Alerts+r.Undecided > 0:
		c.Tone = ui.Warn
	case r.Allowed > 0:
		c.Tone = ui.Good
	}
	return c
}

func connsCell(_ *Model, r *Row) ui.Cell {
	if r.Connections == 0 {
		return ui.Cell{Text: "·", Tone: ui.Dim}
	}
	return ui.Cell{Text: ui.Count(uint64(r.Connections))}
}

func userCell(_ *Model, r *Row) ui.Cell { return ui.Cell{Text: ui.User(r.Record), Tone: ui.Dim} }

func peerCell(_ *Model, r *Row) ui.Cell {
	return ui.Cell{Text: ui.Arrow(r.Record.Direction) + " " + ui.Peer(r.Record)}
}

func portCell(_ *Model, r *Row) ui.Cell {
	return ui.Cell{Text: r.Record.Proto + "/" + strconv.Itoa(int(r.Record.LPort)), Tone: ui.Strong}
}

func addrCell(_ *Model, r *Row) ui.Cell {
	switch r.Record.LAddr {
	case "0.0.0.0", "::":
		return ui.Cell{Text: "every address", Tone: ui.Warn}
	}
	return ui.Cell{Text: r.Record.LAddr, Tone: ui.Dim}
}

func portsCell(_ *Model, r *Row) ui.Cell {
	words := make([]string, len(r.Ports))
	for i, p := range r.Ports {
		words[i] = strconv.Itoa(int(p))
	}
	return ui.Cell{Text: strings.Join(words, " "), Tone: ui.Dim}
}

// Lines draws the view: a line about all, the table, and at the bottom what is
// asked or said.
func (m *Model) Lines(t *ui.Theme, width, height int) []string {
	lines := []string{m.summary(t, width)}
	if height > 6 {
		lines = append(lines, m.tabs(t, width))
	}
	bottom := m.bottom(t, width)
	room := height - len(lines) - len(bottom)
	switch {
	case m.detail != nil:
		lines = append(lines, m.detail.Lines(t, width, room)...)
	case len(m.rows) == 0:
		lines = append(lines, ui.Message(t, width, room, m.empty())...)
	default:
		lines = append(lines, m.table.Lines(t, width, room)...)
	}
	return append(lines, bottom...)
}

// summary is how much moves in all.
func (m *Model) summary(t *ui.Theme, width int) string {
	s := m.state
	left := []ui.Span{{Text: " "}, {Text: "▼ ", Tone: ui.Accent}, {Text: m.units.Bytes(s.Received) + "/s", Tone: ui.Strong, Width: m.units.Width() + 3},
		{Text: "▲ ", Tone: ui.Accent}, {Text: m.units.Bytes(s.Sent) + "/s", Tone: ui.Strong, Width: m.units.Width() + 3}}
	if width >= 70 && len(s.History) > 0 {
		left = append(left, ui.Span{Text: ui.Spark(s.History, 24, slices.Max(s.History)), Tone: ui.Accent}, ui.Span{Text: "  "})
	}
	left = append(left, ui.Span{Text: ui.Count(uint64(s.Open)) + " open", Tone: ui.Dim})
	var right []ui.Span
	switch {
	case s.Problem != "":
		right = []ui.Span{{Text: "● not live ", Tone: ui.Warn}}
	case m.paused:
		right = []ui.Span{{Text: "‖ paused ", Tone: ui.Warn}}
	default:
		right = []ui.Span{{Text: "● live ", Tone: ui.Good}}
	}
	return t.Split(width, left, right)
}

// tabs names the views, and the filters.
func (m *Model) tabs(t *ui.Theme, width int) string {
	var spans []ui.Span
	if n := len(m.stack.Texts()); n > 0 || width < 64 {
		spans = []ui.Span{{Text: " " + m.ask.View.String(), Tone: ui.Accent}}
	} else {
		for v := range views {
			tone, mark := ui.Dim, "  "
			if v == m.ask.View {
				tone, mark = ui.Accent, " ▸"
			}
			spans = append(spans, ui.Span{Text: mark + v.String(), Tone: tone}, ui.Span{Text: " "})
		}
	}
	spans = append(spans, m.stack.Breadcrumb()...)
	return t.Split(width, spans, []ui.Span{{Text: fmt.Sprintf(" %s by %s ", ui.Count(uint64(len(m.rows))), m.ask.Order), Tone: ui.Dim}})
}

// bottom is a prompt, or what there is to say.
func (m *Model) bottom(t *ui.Theme, width int) []string {
	switch {
	case m.prompt.IsOpen():
		return []string{m.prompt.Line(t, width)}
	case m.notice != "":
		return []string{t.Line(width, ui.Span{Text: " " + m.notice, Tone: ui.Warn})}
	case m.state.Lost+m.state.Full > 0:
		return []string{t.Line(width, ui.Span{Text: fmt.Sprintf(" %s snapshots not shown: too much at once (the record has them)", ui.Count(m.state.Lost+m.state.Full)), Tone: ui.Warn})}
	}
	return nil
}

// empty says why there is nothing.
func (m *Model) empty() string {
	switch {
	case m.state.Problem != "":
		return m.state.Problem
	case len(m.stack.Texts()) > 0:
		return "nothing passes the filters; ⌫ takes the last one off"
	case m.ask.View == Listening:
		return "no program is known to listen"
	}
	return "nothing talks yet; what does appears here"
}
