package browse

import (
	"path"
	"strings"

	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/event"
)

func (p *alertsPane) layout() {
	p.table.Sorted = 1
	p.table.Columns = []ui.Column{
		{Title: "STATE", Width: 10, Drop: 4},
		{Title: "LAST", Width: 11, Drop: 3},
		{Title: "TIMES", Width: 6, Right: true, Drop: 5},
		{Title: "VERDICT", Width: 9, Drop: 2},
		{Title: "RULE", Width: 12, Flex: 2, Max: 32},
		{Title: "PROGRAM", Width: 10, Flex: 2, Max: 28, Drop: 1},
		{Title: "PEER", Width: 12, Flex: 3, Max: 48, Drop: 6},
		{Title: "REASON", Width: 12, Flex: 3, Drop: 7},
	}
	p.table.Row = p.row
}

func (p *alertsPane) row(i int, cells []ui.Cell) {
	a := &p.rows[i]
	mark := map[event.AlertState]ui.Cell{event.AlertNew: {Text: "● new", Tone: ui.Accent}, event.AlertSeen: {Text: "○ seen", Tone: ui.Dim},
		event.AlertResolved: {Text: "✓ resolved", Tone: ui.Dim}}
	cells[0] = mark[a.State]
	cells[1] = ui.Cell{Text: ago(p.app.scope.now(), a.Last), Tone: ui.Dim}
	cells[2] = ui.Cell{Text: ui.Count(a.Count)}
	cells[3] = ui.Cell{Text: ui.VerdictMark(a.Action, a.Action), Tone: ui.VerdictTone(a.Action, a.Action)}
	cells[4] = ui.Cell{Text: a.Rule, Tone: ui.Strong}
	if a.Rule == "" {
		cells[4].Text = a.Kind.String()
	}
	if a.Exe != "" {
		cells[5].Text = path.Base(a.Exe)
	}
	cells[6] = ui.Cell{Text: a.Peer, Tone: ui.Dim}
	if a.Domain != "" {
		cells[6].Text = a.Domain
	}
	reason, _, _ := strings.Cut(a.Reason, "\n")
	cells[7] = ui.Cell{Text: reason, Tone: ui.Dim}
}

func (p *alertsPane) lines(t *ui.Theme, width, height int) []string {
	which := "all"
	if p.state != event.AlertStateInvalid {
		which = p.state.String()
	}
	words := ui.Count(uint64(len(p.rows)))
	if p.asked.busy {
		words = "reading …"
	}
	lines := []string{t.Split(width, []ui.Span{{Text: " alerts", Tone: ui.Strong}, {Text: " › ", Tone: ui.Dim}, {Text: which, Tone: ui.Accent}},
		[]ui.Span{{Text: words + " ", Tone: ui.Dim}})}
	var bottom []string
	switch {
	case p.finder.prompt.IsOpen():
		bottom = []string{p.finder.prompt.Line(t, width)}
	case p.notice != "":
		bottom = []string{t.Line(width, ui.Span{Text: " " + p.notice, Tone: ui.Warn})}
	}
	room := height - len(lines) - len(bottom)
	switch {
	case p.detail != nil:
		lines = append(lines, p.detail.Lines(t, width, room)...)
	case p.table.Len() == 0:
		lines = append(lines, ui.Message(t, width, room, p.none())...)
	default:
		lines = append(lines, p.table.Lines(t, width, room)...)
	}
	return append(lines, bottom...)
}

func (p *alertsPane) none() string {
	switch {
	case p.asked.busy:
		return "reading …"
	case p.asked.err != nil:
		return explain(p.asked.err)
	case p.state == event.AlertNew:
		return "nothing new: all is seen (o shows the others)"
	}
	return "no alerts in this state (o shows the others)"
}
