package top

import (
	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/ui"
)

// Keys is what keys do here.
func Keys() ui.KeyMap {
	return append(ui.KeyMap{
		{Action: "next", Keys: []string{"right", "tab", "l"}, Help: "next view", Hint: "view"},
		{Action: "previous", Keys: []string{"left", "shift+tab", "h"}, Help: "view before"},
		{Action: "open", Keys: []string{"enter"}, Help: "connections of a row, facts of a connection", Hint: "open"},
		{Action: "back", Keys: []string{"backspace", "esc"}, Help: "take the last filter off", Hint: "back"},
		{Action: "sort", Keys: []string{"s"}, Help: "sort by the next column", Hint: "sort"},
		{Action: "reverse", Keys: []string{"S"}, Help: "turn the order round"},
		{Action: "filter", Keys: []string{"f", "\\"}, Help: "filter, as 'snitch log' takes them", Hint: "filter"},
		{Action: "exclude", Keys: []string{"e", "x"}, Help: "leave out what a row adds up"},
		{Action: "find", Keys: []string{"/"}, Help: "find; then n and N", Hint: "find"},
		{Action: "again", Keys: []string{"n"}, Help: "find the next"},
		{Action: "before", Keys: []string{"N"}, Help: "find the one before"},
		{Action: "pause", Keys: []string{"p", "space"}, Help: "pause, go on", Hint: "pause"},
		{Action: "units", Keys: []string{"u"}, Help: "other units of bytes"},
		{Action: "units back", Keys: []string{"U"}, Help: "units, the other way round"},
	}, ui.MoveKeys()...)
}

// Keys is what keys do at the moment.
func (m *Model) Keys() ui.KeyMap {
	if m.detail != nil {
		return ui.DetailKeys()
	}
	return Keys()
}

func (m *Model) act(action string) tea.Cmd {
	switch action {
	case "next":
		return m.show((m.ask.View + 1) % views)
	case "previous":
		return m.show((m.ask.View + views - 1) % views)
	case "open":
		return m.open()
	case "back":
		return m.back()
	case "sort":
		m.ask.Order, m.ask.Reverse = (m.ask.Order+1)%orders, false
		return m.resorted()
	case "reverse":
		m.ask.Reverse = !m.ask.Reverse
		return m.resorted()
	case "filter":
		m.mode = filtering
		m.prompt.Open("filter", "")
		m.prompt.Note = "name=curl  domain=.example.org  rport=443"
	case "exclude":
		return m.exclude()
	case "find":
		m.mode = finding
		m.prompt.Open("find", "")
	case "again":
		m.find(true, false)
	case "before":
		m.find(false, false)
	case "pause":
		m.paused = !m.paused
	case "units":
		m.units = m.units.Next()
		m.layout()
	case "units back":
		m.units = m.units.Prev()
		m.layout()
	}
	return nil
}

// show changes to a view.
func (m *Model) show(v View) tea.Cmd {
	m.ask.View, m.pinned, m.rows = v, false, nil
	m.table.SetRows(0)
	m.layout()
	return m.query(false)
}

// resorted asks anew; the cursor goes to the top.
func (m *Model) resorted() tea.Cmd {
	m.pinned = false
	m.table.Select(0)
	m.layout()
	return m.query(false)
}

// open goes from a sum to its connections, from a connection to its facts.
func (m *Model) open() tea.Cmd {
	i := m.table.Cursor()
	if i < 0 {
		return nil
	}
	r := m.rows[i]
	if r.Field == "" {
		m.detail = &ui.Detail{Title: r.Name, Facts: ui.RecordFacts(r.Record, m.units, "")}
		return nil
	}
	if err := m.stack.Push(ui.Filter(r.Field, "=", r.Value)); err != nil {
		m.notice = err.Error()
		return nil
	}
	m.from = append(m.from, m.ask.View)
	return m.show(Connections)
}

// back takes the last filter off, and goes to the view that it came from.
func (m *Model) back() tea.Cmd {
	if !m.stack.Pop() {
		return nil
	}
	if n := len(m.from); n > 0 {
		v := m.from[n-1]
		m.from = m.from[:n-1]
		return m.show(v)
	}
	return m.query(false)
}

func (m *Model) exclude() tea.Cmd {
	i := m.table.Cursor()
	if i < 0 {
		return nil
	}
	r := m.rows[i]
	filter := ui.Filter(r.Field, "!=", r.Value)
	if r.Field == "" {
		filter = ui.Filter("exe", "!=", r.Record.Exe)
	}
	if err := m.stack.Push(filter); err != nil {
		m.notice = err.Error()
		return nil
	}
	m.from = append(m.from, m.ask.View)
	return m.query(false)
}
