package browse

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/store/query"
)

const shareWidth = 10

// layout makes the columns of a view.
func (p *historyPane) layout() {
	w := p.app.unitWidth()
	exe := strings.HasSuffix(p.field(), "exe")
	key := ui.Column{Title: strings.ToUpper(viewTitle(p.field())), Width: 14, Flex: 5, Tail: exe}
	if exe && p.paths() {
		key.Flex, key.Max = 2, 30
	}
	if p.field() == query.ByTime {
		key.Max, key.Tail = 32, false
	}
	beside := ui.Column{Width: 8, Flex: 3, Max: 40, Drop: 7, Tail: exe}
	if !p.hasDetails() {
		beside = ui.Column{Width: 1, Drop: 7}
	}
	p.table.Columns = []ui.Column{
		key,
		beside,
		{Title: "SHARE", Width: shareWidth, Drop: 5},
		{Title: "CONNS", Width: 9, Right: true, Drop: 2},
		{Title: "RECEIVED", Width: w + 1, Right: true},
		{Title: "SENT", Width: w, Right: true, Drop: 1},
		{Title: "VERDICT", Width: 14, Drop: 4},
		{Title: "LAST", Width: 11, Drop: 6},
	}
	p.table.Sorted = [...]int{query.OrderTotal: 2, query.OrderConnections: 3, query.OrderSent: 5, query.OrderReceived: 4,
		query.OrderLast: 7, query.OrderName: 0}[p.sort().by]
	p.table.Up = p.sort().up
	p.table.Row = p.row
}

func (a *App) unitWidth() int { return a.scope.units.Width() }

func (p *historyPane) row(i int, cells []ui.Cell) {
	r := &p.groups.Rows[i]
	u := p.app.scope.units
	cells[0] = p.keyCell(r)
	cells[1] = ui.Cell{Text: p.detailOf(r), Tone: ui.Dim}
	cells[2] = ui.Cell{Text: ui.Bar(p.share(r), shareWidth), Tone: ui.Accent}
	cells[3] = ui.Cell{Text: ui.Count(r.Connections)}
	cells[4] = amount(r.Received, u)
	cells[5] = amount(r.Sent, u)
	cells[6] = groupVerdict(r)
	cells[7] = ui.Cell{Text: ago(p.app.scope.now(), r.Last), Tone: ui.Dim}
}

func amount(n uint64, u ui.Units) ui.Cell {
	if n == 0 {
		return ui.Cell{Text: "·", Tone: ui.Dim}
	}
	return ui.Cell{Text: u.Bytes(n)}
}

func (p *historyPane) keyCell(r *query.GroupRow) ui.Cell {
	key := r.Keys[0]
	switch {
	case key == "":
		return ui.Cell{Text: "(none)", Tone: ui.Dim}
	case p.paths():
		return ui.Cell{Text: path.Base(key), Tone: ui.Strong}
	case p.field() == query.ByTime:
		if at, err := time.Parse(time.RFC3339, key); err == nil {
			return ui.Cell{Text: p.app.scope.between(at, at.Add(time.Duration(p.groups.Width))), Tone: ui.Strong}
		}
	}
	return ui.Cell{Text: key, Tone: ui.Strong}
}

// detailOf is what stands beside the key: the directory of a program, the place
// of an address, or what the record has.
func (p *historyPane) detailOf(r *query.GroupRow) string {
	switch key := r.Keys[0]; {
	case p.paths() && key != "":
		return path.Dir(key)
	case p.field() == "raddr":
		return p.app.place(key)
	case len(r.Details) > 0:
		return r.Details[0]
	}
	return ""
}

// hasDetails looks at the first rows: what stands beside keys is of a view.
func (p *historyPane) hasDetails() bool {
	rows := p.groups.Rows[:min(len(p.groups.Rows), 100)]
	return slices.ContainsFunc(rows, func(r query.GroupRow) bool { return p.detailOf(&r) != "" })
}

// paths reports whether keys are paths that are shown in two columns.
func (p *historyPane) paths() bool {
	return strings.HasSuffix(p.field(), "exe") && p.app.width >= twoColumns
}

// twoColumns is how wide a terminal must be to show what stands beside keys.
const twoColumns = 96

// share is what part of all a row has, of what the order is about.
func (p *historyPane) share(r *query.GroupRow) float64 {
	part, all := float64(r.Bytes()), float64(p.groups.Total.Bytes())
	switch p.sort().by {
	case query.OrderConnections:
		part, all = float64(r.Connections), float64(p.groups.Total.Connections)
	case query.OrderSent:
		part, all = float64(r.Sent), float64(p.groups.Total.Sent)
	case query.OrderReceived:
		part, all = float64(r.Received), float64(p.groups.Total.Received)
	}
	if all == 0 {
		return 0
	}
	return part / all
}

func groupVerdict(r *query.GroupRow) ui.Cell {
	switch {
	case r.Denied > 0:
		return ui.Cell{Text: "✗ deny " + ui.Count(r.Denied), Tone: ui.Bad}
	case r.WouldDeny > 0:
		return ui.Cell{Text: "✗ would " + ui.Count(r.WouldDeny), Tone: ui.Warn}
	}
	return ui.Cell{}
}

// ago is how long before now, for the eye.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	switch d := now.Sub(at); {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	case d < 60*24*time.Hour:
		return fmt.Sprintf("%d d ago", int(d.Hours())/24)
	}
	return at.Local().Format(time.DateOnly)
}

func (p *historyPane) lines(t *ui.Theme, width, height int) []string {
	p.layout() // which goes by the width
	lines := []string{p.crumbs(t, width)}
	lines = append(lines, p.chart(t, width, height)...)
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

// crumbs is the view and its filters, and how much there is.
func (p *historyPane) crumbs(t *ui.Theme, width int) string {
	left := append([]ui.Span{{Text: " " + viewTitle(p.field()), Tone: ui.Strong}}, p.app.scope.stack.Breadcrumb()...)
	count := ui.Count(uint64(p.groups.Count))
	if p.groups.More {
		count = ui.Count(uint64(len(p.groups.Rows))) + " of " + count
	}
	words := fmt.Sprintf("%s by %s", count, p.sort().by)
	if p.asked.busy {
		words = "reading …"
	}
	return t.Split(width, left, []ui.Span{{Text: "  " + words + " ", Tone: ui.Dim}})
}

// chart is traffic over the period, where there is room for it.
func (p *historyPane) chart(t *ui.Theme, width, height int) []string {
	rows := 3
	switch {
	case height < 16 || width < 50 || p.detail != nil:
		return nil
	case height < 24:
		rows = 2
	}
	values := make([]uint64, len(p.series.Times))
	for _, l := range p.series.Lines {
		for i := range min(len(values), len(l.Sent), len(l.Received)) {
			values[i] += l.Sent[i] + l.Received[i]
		}
	}
	var most uint64
	for _, v := range values {
		most = max(most, v)
	}
	const side = 12
	room := width - side - 2
	drawn := ui.Chart(ui.Resample(values, room), room, rows)
	lines := make([]string, 0, rows+1)
	for y, row := range drawn {
		label := ""
		if y == 0 && most > 0 {
			label = p.app.scope.units.Bytes(most)
		}
		lines = append(lines, t.Line(width, ui.Span{Text: label, Tone: ui.Dim, Width: side, Right: true}, ui.Span{Text: " "}, ui.Span{Text: row, Tone: ui.Accent}))
	}
	return append(lines, p.axis(t, width, side))
}

// axis is the time below the chart, and what is added up.
func (p *historyPane) axis(t *ui.Theme, width, side int) string {
	times := p.series.Times
	if len(times) == 0 {
		return t.Line(width)
	}
	total, u := p.groups.Total, p.app.scope.units
	first, last := times[0].Local(), times[len(times)-1].Add(time.Duration(p.series.Width)).Local()
	form := "15:04"
	if last.Sub(first) > 20*time.Hour {
		form = "Jan 2 15:04"
	}
	left := []ui.Span{{Text: "", Width: side + 1}, {Text: first.Format(form), Tone: ui.Dim}}
	sum := fmt.Sprintf("   %s connections  ▼ %s  ▲ %s", ui.Count(total.Connections), u.Bytes(total.Received), u.Bytes(total.Sent))
	left = append(left, ui.Span{Text: sum, Tone: ui.Plain})
	return t.Split(width, left, []ui.Span{{Text: last.Format(form) + " ", Tone: ui.Dim}})
}

// why says why there are no rows, and what to do.
func (p *historyPane) why() string {
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

// explain adds what to do to an error of the database.
func explain(err error) string {
	switch {
	case errors.Is(err, query.ErrNotThere):
		return "there is no record here: start it with 'sudo snitch run', or name its directory with --state"
	case errors.Is(err, query.ErrNotReadable):
		return "the record may not be read: use sudo, or join group snitch"
	}
	return err.Error()
}

func (p *historyPane) bottom(t *ui.Theme, width int) []string {
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
