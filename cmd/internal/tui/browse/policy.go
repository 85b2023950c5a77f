package browse

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/store/query"
)

// policyPane lists the rules in use with what they did.
type policyPane struct {
	app    *App
	table  ui.Table
	rows   []Rule
	asked  question
	finder finder
	detail *ui.Detail
	read   bool
}

type rulesMsg struct {
	seq  uint64
	rows []Rule
	err  error
}

func newPolicyPane(a *App) *policyPane {
	p := &policyPane{app: a}
	p.finder = finder{table: &p.table, text: func(i int) string { return p.rows[i].ID + "\n" + p.rows[i].Reason + "\n" + p.rows[i].Text }}
	p.layout()
	return p
}

func (p *policyPane) name() string { return "policy" }

func (p *policyPane) capturing() bool { return p.finder.prompt.IsOpen() || p.detail != nil }

func (p *policyPane) keys() ui.KeyMap {
	if p.detail != nil {
		return ui.DetailKeys()
	}
	return p.list()
}

// list is what keys do in the table.
func (p *policyPane) list() ui.KeyMap {
	return slices.Concat(ui.KeyMap{
		{Action: "open", Keys: []string{"enter"}, Help: "the rule as it is written", Hint: "open"},
		{Action: "connections", Keys: []string{"c", "f"}, Help: "the connections that it decided", Hint: "connections"},
		{Action: "refresh", Keys: []string{"r"}, Help: "read again", Hint: "refresh"},
	}, findKeys(), ui.MoveKeys())
}

func (p *policyPane) show(force bool) tea.Cmd {
	if p.read && !force && p.asked.err == nil {
		return nil
	}
	p.read = true
	ask := p.app.deps.Rules
	ctx, seq := p.asked.begin(p.app.tasks)
	return p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
		rows, err := ask(ctx)
		return rulesMsg{seq, rows, err}
	})
}

func (p *policyPane) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case rulesMsg:
		if p.asked.ended(msg.seq, msg.err) && msg.err == nil {
			p.rows = msg.rows
			p.table.SetRows(len(p.rows))
		}
	case tea.PasteMsg:
		p.finder.paste(msg.Content)
	case tea.KeyPressMsg:
		return p.keyPress(msg)
	}
	return nil
}

func (p *policyPane) keyPress(k tea.KeyPressMsg) tea.Cmd {
	switch {
	case p.finder.prompt.IsOpen():
		return p.finder.key(k)
	case p.detail != nil:
		if !p.detail.Key(k.String()) {
			p.detail = nil
		}
		return nil
	case p.table.Key(k.String()):
		return nil
	}
	action := p.list().Action(k.String())
	if p.finder.act(action) {
		return nil
	}
	if action == "refresh" {
		return p.show(true)
	}
	i := p.table.Cursor()
	if i < 0 {
		return nil
	}
	switch action {
	case "open":
		p.detail = &ui.Detail{Title: p.rows[i].ID, Facts: p.rows[i].facts()}
	case "connections":
		return p.connections(p.rows[i].ID)
	}
	return nil
}

// connections shows what a rule decided.
func (p *policyPane) connections(id string) tea.Cmd {
	s := p.app.scope
	before := len(s.stack.Texts())
	if err := s.stack.Push(query.FilterFor("rule", id)); err != nil {
		return nil
	}
	if len(s.stack.Texts()) > before {
		s.crumbs = append(s.crumbs, crumb{tab: policyTab})
	}
	p.app.tab = connectionsTab
	return p.app.changed()
}

func (r *Rule) facts() []ui.Fact {
	out := []ui.Fact{{Name: "says", Value: ui.VerdictMark(r.Action, r.Action), Tone: ui.VerdictTone(r.Action, r.Action)}, {Name: "mode", Value: r.Mode}}
	add := func(name, value string) {
		if value != "" {
			out = append(out, ui.Fact{Name: name, Value: value})
		}
	}
	add("reason", r.Reason)
	add("stands at", r.Where)
	if !r.Expires.IsZero() {
		add("expires", r.Expires.Local().Format(time.DateTime))
	}
	c := r.Counts
	add("matched", fmt.Sprintf("%s, decided %s, denied %s, would deny %s, would alert %s", ui.Count(c.Hits), ui.Count(c.Wins), ui.Count(c.Denied), ui.Count(c.WouldDeny), ui.Count(c.WouldAlert)))
	if r.dead() {
		out = append(out, ui.Fact{Name: "note", Value: "it has matched nothing since the record began", Tone: ui.Warn})
	}
	if r.Text != "" {
		out = append(out, ui.Fact{Name: "as written"})
		for line := range strings.Lines(r.Text) {
			out = append(out, ui.Fact{Name: " ", Value: strings.TrimRight(line, "\n ") + " "})
		}
	}
	return out
}

// dead reports whether a rule never matched.
func (r *Rule) dead() bool { return r.Counts.Hits == 0 }

func (p *policyPane) layout() {
	p.table.Sorted = -1
	p.table.Columns = []ui.Column{
		{Title: "RULE", Width: 14, Flex: 3, Max: 40},
		{Title: "SAYS", Width: 9, Drop: 1},
		{Title: "MODE", Width: 7, Drop: 6},
		{Title: "HITS", Width: 9, Right: true},
		{Title: "DENIED", Width: 8, Right: true, Drop: 4},
		{Title: "WOULD DENY", Width: 10, Right: true, Drop: 3},
		{Title: "LAST", Width: 11, Drop: 5},
		{Title: "REASON", Width: 12, Flex: 3, Drop: 7},
	}
	p.table.Row = func(i int, cells []ui.Cell) {
		r := &p.rows[i]
		cells[0] = ui.Cell{Text: r.ID, Tone: ui.Strong}
		cells[1] = ui.Cell{Text: ui.VerdictMark(r.Action, r.Action), Tone: ui.VerdictTone(r.Action, r.Action)}
		cells[2] = ui.Cell{Text: r.Mode, Tone: ui.Dim}
		cells[3] = count(r.Counts.Hits)
		cells[4] = count(r.Counts.Denied)
		cells[5] = count(r.Counts.WouldDeny)
		cells[6] = ui.Cell{Text: ago(p.app.scope.now(), r.Counts.Last), Tone: ui.Dim}
		if r.dead() {
			cells[6].Text = "never"
		}
		cells[7] = ui.Cell{Text: r.Reason, Tone: ui.Dim}
	}
}

func count(n uint64) ui.Cell {
	if n == 0 {
		return ui.Cell{Text: "·", Tone: ui.Dim}
	}
	return ui.Cell{Text: ui.Count(n)}
}

func (p *policyPane) lines(t *ui.Theme, width, height int) []string {
	dead := 0
	for i := range p.rows {
		if p.rows[i].dead() {
			dead++
		}
	}
	words := fmt.Sprintf("%d rules, %d never matched ", len(p.rows), dead)
	if p.asked.busy {
		words = "reading … "
	}
	lines := []string{t.Split(width, []ui.Span{{Text: " rules in use", Tone: ui.Strong}}, []ui.Span{{Text: words, Tone: ui.Dim}})}
	var bottom []string
	if p.finder.prompt.IsOpen() {
		bottom = []string{p.finder.prompt.Line(t, width)}
	}
	room := height - len(lines) - len(bottom)
	switch {
	case p.detail != nil:
		lines = append(lines, p.detail.Lines(t, width, room)...)
	case p.asked.err != nil && len(p.rows) == 0:
		lines = append(lines, ui.Message(t, width, room, explain(p.asked.err))...)
	case p.table.Len() == 0:
		lines = append(lines, ui.Message(t, width, room, "no rules are recorded: the daemon records those that it uses")...)
	default:
		lines = append(lines, p.table.Lines(t, width, room)...)
	}
	return append(lines, bottom...)
}
