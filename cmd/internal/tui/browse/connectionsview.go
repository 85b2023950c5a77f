package browse

import (
	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/event"
)

func (p *connectionsPane) layout() {
	w := p.app.unitWidth()
	p.table.Sorted = 0
	p.table.Columns = []ui.Column{
		{Title: "TIME", Width: 12, Drop: 5},
		{Title: "PROGRAM", Width: 13, Flex: 2, Max: 32},
		{Title: "← PARENT", Width: 10, Flex: 1, Max: 16, Drop: 9},
		{Title: "USER", Width: 8, Drop: 8},
		{Title: "  PEER", Width: 24, Flex: 4, Max: 64},
		{Title: "CC", Width: 2, Drop: 7},
		{Title: "PROTO", Width: 5, Drop: 6},
		{Title: "RECEIVED", Width: w + 1, Right: true, Drop: 3},
		{Title: "SENT", Width: w, Right: true, Drop: 4},
		{Title: "RESULT", Width: 11, Drop: 2},
		{Title: "VERDICT", Width: 12, Drop: 1},
	}
	p.table.Row = p.row
}

func (p *connectionsPane) row(i int, cells []ui.Cell) {
	r := &p.rows[i]
	u := p.app.scope.units
	parent := ""
	if r.Parent != nil {
		parent = "← " + ui.Short(r.Parent.Exe, r.Parent.Name)
	}
	cells[0] = ui.Cell{Text: p.moment(r), Tone: ui.Dim}
	cells[1] = ui.Cell{Text: ui.Program(r), Tone: ui.Strong}
	cells[2] = ui.Cell{Text: parent, Tone: ui.Dim}
	cells[3] = ui.Cell{Text: ui.User(r), Tone: ui.Dim}
	cells[4] = ui.Cell{Text: ui.Arrow(r.Direction) + " " + ui.Peer(r)}
	cells[5] = ui.Cell{Text: r.Country, Tone: ui.Dim}
	cells[6] = ui.Cell{Text: r.Proto, Tone: ui.Dim}
	cells[7] = amount(r.Received, u)
	cells[8] = amount(r.Sent, u)
	cells[9] = ui.Cell{Text: r.Result, Tone: resultTone(r.Result)}
	cells[10] = ui.Cell{Text: ui.VerdictMark(r.Action, r.Would), Tone: ui.VerdictTone(r.Action, r.Would)}
}

// moment is when it began: of today the seconds, of another day that too.
func (p *connectionsPane) moment(r *event.Record) string {
	at, now := r.Time.Local(), p.app.scope.now().Local()
	switch {
	case at.Year() != now.Year():
		return at.Format("2006-01-02")
	case at.YearDay() != now.YearDay():
		return at.Format("Jan 02 15:04")
	}
	return at.Format("15:04:05")
}

func resultTone(result string) ui.Tone {
	switch result {
	case "refused", "timeout", "unreachable", "reset", "failed", "aborted":
		return ui.Warn
	case "denied":
		return ui.Bad
	}
	return ui.Dim
}

func (p *connectionsPane) lines(t *ui.Theme, width, height int) []string {
	lines := []string{p.crumbs(t, width)}
	bottom := p.bottom(t, width)
	room := height - len(lines) - len(bottom)
	switch {
	case p.detail != nil:
		lines = append(lines, p.detail.Lines(t, width, room)...)
	case p.table.Len() == 0:
		lines = append(lines, ui.Message(t, width, room, p.why())...)
	default:
		lines = append(lines, p.table.Lines(t, width, room)...)
	}
	return append(lines, bottom...)
}

func (p *connectionsPane) crumbs(t *ui.Theme, width int) string {
	left := append([]ui.Span{{Text: " connections", Tone: ui.Strong}}, p.app.scope.stack.Breadcrumb()...)
	words := "the newest " + ui.Count(uint64(len(p.rows)))
	switch {
	case p.asked.busy:
		words = "reading …"
	case !p.more:
		words = ui.Count(uint64(len(p.rows)))
	}
	return t.Split(width, left, []ui.Span{{Text: "  " + words + " ", Tone: ui.Dim}})
}

func (p *connectionsPane) why() string {
	switch {
	case p.asked.busy:
		return "reading …"
	case p.asked.err != nil:
		return explain(p.asked.err)
	case len(p.app.scope.stack.Texts()) > 0:
		return "nothing passes the filters in this period: ⌫ takes the last one off, t makes the period longer"
	}
	return "nothing was recorded in this period: t makes it longer, h goes back"
}

func (p *connectionsPane) bottom(t *ui.Theme, width int) []string {
	switch {
	case p.finder.prompt.IsOpen():
		return []string{p.finder.prompt.Line(t, width)}
	case p.prompt.IsOpen():
		return []string{p.prompt.Line(t, width)}
	case p.notice != "":
		return []string{t.Line(width, ui.Span{Text: " " + p.notice, Tone: ui.Warn})}
	case p.asked.err != nil && p.table.Len() > 0:
		return []string{t.Line(width, ui.Span{Text: " not read again: " + explain(p.asked.err), Tone: ui.Warn})}
	}
	return nil
}
