package browse

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// Bounds of the connections that are held: further pages are read when the
// cursor comes near the end.
const (
	pageRows = 1000
	maxRows  = 100_000
)

// connectionsPane lists connections, the newest first.
type connectionsPane struct {
	app    *App
	table  ui.Table
	rows   []event.Record
	more   bool // there are older ones
	adding bool // the question is for another page
	asked  question
	stale  bool
	finder finder
	prompt ui.Prompt
	detail *ui.Detail
	notice string
}

// recordsMsg is an answer.
type recordsMsg struct {
	seq  uint64
	rows []event.Record
	more bool
	add  bool
	err  error
}

func newConnectionsPane(a *App) *connectionsPane {
	p := &connectionsPane{app: a, stale: true}
	p.finder = finder{table: &p.table, text: p.text}
	p.layout()
	return p
}

func (p *connectionsPane) name() string { return "connections" }

func (p *connectionsPane) capturing() bool {
	return p.finder.prompt.IsOpen() || p.prompt.IsOpen() || p.detail != nil
}

func (p *connectionsPane) keys() ui.KeyMap {
	if p.detail != nil {
		return ui.DetailKeys()
	}
	return p.list()
}

// list is what keys do in the table.
func (p *connectionsPane) list() ui.KeyMap {
	return slices.Concat(ui.KeyMap{
		{Action: "open", Keys: []string{"enter", "space"}, Help: "all about the connection", Hint: "open"},
		{Action: "include", Keys: []string{"f"}, Help: "only this program"},
		{Action: "exclude", Keys: []string{"e", "x"}, Help: "leave this program out", Hint: "exclude"},
		{Action: "peer", Keys: []string{"d"}, Help: "only this destination"},
	}, scopeKeys(), findKeys(), ui.MoveKeys())
}

func (p *connectionsPane) show(force bool) tea.Cmd {
	if !force && !p.stale && p.asked.err == nil {
		return nil
	}
	p.stale = false
	return p.ask(force, nil)
}

// ask reads the newest connections, or those that began before one.
func (p *connectionsPane) ask(flush bool, before *event.Record) tea.Cmd {
	s := p.app.scope
	q := query.Query{Filters: s.stack.Filters(), Limit: pageRows, Order: query.NewestFirst}
	q.Since, q.Until = s.bounds()
	var last []event.Record // of the same moment as the last one: read again
	if before != nil {
		q.Until = before.Time.Add(time.Nanosecond)
		for i := len(p.rows) - 1; i >= 0 && p.rows[i].Time.Equal(before.Time); i-- {
			last = append(last, p.rows[i])
		}
		q.Limit += len(last)
	}
	deps, add, limit := p.app.deps, before != nil, q.Limit
	p.adding = add
	ctx, seq := p.asked.begin(p.app.tasks)
	return p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
		if flush && deps.Flush != nil {
			_ = deps.Flush(ctx) // without a daemon the database is all there is
		}
		m := recordsMsg{seq: seq, add: add}
		read := 0
		m.err = deps.Record.Connections(ctx, q, func(r event.Record) error {
			read++
			if !slices.ContainsFunc(last, func(x event.Record) bool { return sameRow(&x, &r) }) {
				m.rows = append(m.rows, r)
			}
			return nil
		})
		m.more = read == limit
		return m
	})
}

func sameRow(a, b *event.Record) bool {
	return a.Time.Equal(b.Time) && a.PID == b.PID && a.Proto == b.Proto && a.LAddr == b.LAddr && a.LPort == b.LPort && a.RAddr == b.RAddr && a.RPort == b.RPort
}

func (p *connectionsPane) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case recordsMsg:
		if !p.asked.ended(msg.seq, msg.err) || msg.err != nil {
			return nil
		}
		if !msg.add {
			p.rows = nil
		}
		p.rows, p.more = append(p.rows, msg.rows...), msg.more && len(p.rows)+len(msg.rows) < maxRows
		p.table.SetRows(len(p.rows))
	case tea.PasteMsg:
		if p.prompt.IsOpen() {
			p.prompt.Paste(msg.Content)
		}
		p.finder.paste(msg.Content)
	case tea.KeyPressMsg:
		return p.keyPress(msg)
	}
	return nil
}

func (p *connectionsPane) keyPress(k tea.KeyPressMsg) tea.Cmd {
	p.notice = ""
	switch {
	case p.finder.prompt.IsOpen():
		return p.finder.key(k)
	case p.prompt.IsOpen():
		return p.promptKey(k)
	case p.detail != nil:
		if !p.detail.Key(k.String()) {
			p.detail = nil
		}
		return nil
	case p.table.Key(k.String()):
		return p.further()
	}
	return p.act(p.list().Action(k.String()))
}

// further reads the next page when the cursor comes near the end.
func (p *connectionsPane) further() tea.Cmd {
	if !p.more || p.asked.busy || p.table.Cursor() < len(p.rows)-pageRows/2 {
		return nil
	}
	return p.ask(false, &p.rows[len(p.rows)-1])
}

func (p *connectionsPane) promptKey(k tea.KeyPressMsg) tea.Cmd {
	switch p.prompt.Key(k) {
	case ui.Canceled:
		p.prompt.Close()
	case ui.Accepted:
		if words := strings.TrimSpace(p.prompt.Text()); words != "" {
			if err := p.push(words); err != nil {
				p.prompt.Note, p.prompt.Wrong = err.Error(), true
				return nil
			}
		}
		p.prompt.Close()
		return p.app.changed()
	}
	return nil
}

func (p *connectionsPane) push(filter string) error {
	s := p.app.scope
	before := len(s.stack.Texts())
	err := s.stack.Push(filter)
	if len(s.stack.Texts()) > before {
		s.crumbs = append(s.crumbs, crumb{tab: connectionsTab})
	}
	return err
}

func (p *connectionsPane) act(action string) tea.Cmd {
	switch action {
	case "open":
		if i := p.table.Cursor(); i >= 0 {
			p.detail = &ui.Detail{Title: ui.Program(&p.rows[i]), Facts: ui.RecordFacts(&p.rows[i], p.app.scope.units, p.app.place(p.rows[i].RAddr))}
		}
		return nil
	case "include", "exclude", "peer":
		return p.filter(action)
	case "type":
		p.prompt.Open("filter", "")
		p.prompt.Note = "name=curl  domain=.example.org  !rport=443"
		return nil
	}
	if p.finder.act(action) {
		return nil
	}
	return p.app.scopeAct(action)
}

func (p *connectionsPane) filter(action string) tea.Cmd {
	i := p.table.Cursor()
	if i < 0 {
		return nil
	}
	r := &p.rows[i]
	filter := query.FilterFor("exe", r.Exe)
	switch {
	case action == "exclude":
		filter = "!" + filter
	case action == "peer" && r.Domain != "":
		filter = query.FilterFor("domain", r.Domain)
	case action == "peer":
		filter = query.FilterFor("raddr", r.RAddr)
	}
	if err := p.push(filter); err != nil {
		p.notice = err.Error()
		return nil
	}
	return p.app.changed()
}

func (p *connectionsPane) text(i int) string {
	r := &p.rows[i]
	return strings.Join([]string{r.Exe, r.Name, r.Cmdline, r.Domain, r.RAddr, r.User, r.Rule, r.Country, r.Result}, "\n")
}
