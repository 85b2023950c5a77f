package browse

import (
	"context"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/store/query"
)

// historyPane shows connections added up by a field.
type historyPane struct {
	app    *App
	views  []string
	view   int
	sorts  [2]sorting // of time, and of all other views
	table  ui.Table
	groups query.Groups
	series query.Series
	asked  question
	charts question
	stale  bool // the scope changed since the last answer
	finder finder
	prompt ui.Prompt
	cursor int // to go to when the answer comes; -1: none
	detail *ui.Detail
	info   question
	notice string
}

// sorting is an order of groups.
type sorting struct {
	by query.GroupOrder
	up bool // smallest first
}

// sort is the order of the view: time begins with the newest.
func (p *historyPane) sort() *sorting {
	if p.field() == query.ByTime {
		return &p.sorts[0]
	}
	return &p.sorts[1]
}

// groupsMsg and seriesMsg are answers.
type groupsMsg struct {
	seq    uint64
	groups query.Groups
	err    error
}

type seriesMsg struct {
	seq    uint64
	series query.Series
	err    error
}

func newHistoryPane(a *App) *historyPane {
	p := &historyPane{app: a, views: views(), cursor: -1, stale: true, sorts: [2]sorting{{by: query.OrderName}, {}}}
	p.finder = finder{table: &p.table, text: p.text}
	p.layout()
	return p
}

func (p *historyPane) name() string { return "history" }

func (p *historyPane) capturing() bool {
	return p.finder.prompt.IsOpen() || p.prompt.IsOpen() || p.detail != nil
}

func (p *historyPane) field() string { return p.views[p.view] }

// show asks if anything changed.
func (p *historyPane) show(force bool) tea.Cmd {
	if !force && !p.stale && p.asked.err == nil {
		return nil
	}
	return p.ask(force)
}

// flushedMsg says that what the daemon held is in the database.
type flushedMsg struct{ seq uint64 }

// ask puts the questions of the view to the database. flush first brings in
// what the daemon still holds, so that both see the same.
func (p *historyPane) ask(flush bool) tea.Cmd {
	p.stale = false
	if do := p.app.deps.Flush; flush && do != nil {
		ctx, seq := p.asked.begin(p.app.tasks)
		return p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
			_ = do(ctx) // without a daemon the database is all there is
			return flushedMsg{seq}
		})
	}
	s := p.app.scope
	since, until := s.bounds()
	deps := p.app.deps
	ctx, seq := p.asked.begin(p.app.tasks)
	q := query.GroupQuery{Filters: s.stack.Filters(), By: []string{p.field()}, Since: since, Until: until, Order: p.sort().by, Desc: !p.sort().up, Limit: query.MaxGroupLimit}
	if p.field() == query.ByTime && until.IsZero() {
		q.Until = s.present()
	}
	groups := p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
		g, err := deps.Record.Group(ctx, q)
		return groupsMsg{seq, g, err}
	})
	return tea.Batch(groups, p.askSeries(since, until))
}

func (p *historyPane) askSeries(since, until time.Time) tea.Cmd {
	deps, filters := p.app.deps, p.app.scope.stack.Filters()
	if until.IsZero() {
		until = p.app.scope.present()
	}
	ctx, seq := p.charts.begin(p.app.tasks)
	return p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
		s, err := deps.Record.Series(ctx, query.SeriesQuery{Filters: filters, Since: since, Until: until, Top: 1})
		return seriesMsg{seq, s, err}
	})
}

func (p *historyPane) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case flushedMsg:
		if msg.seq == p.asked.seq {
			return p.ask(false)
		}
	case groupsMsg:
		if p.asked.ended(msg.seq, msg.err) && msg.err == nil {
			p.groups = msg.groups
			p.table.SetRows(len(p.groups.Rows))
			if p.cursor >= 0 {
				p.table.Select(p.cursor)
				p.cursor = -1
			}
		}
	case seriesMsg:
		if p.charts.ended(msg.seq, msg.err) && msg.err == nil {
			p.series = msg.series
		}
	case programMsg:
		if p.info.ended(msg.seq, msg.err) && msg.err == nil && p.detail != nil {
			p.detail.Facts = programFacts(&msg.detail, p.app.scope.units)
		} else if msg.seq == p.info.seq && msg.err != nil && p.detail != nil {
			p.detail.Facts = []ui.Fact{{Name: "problem", Value: msg.err.Error(), Tone: ui.Bad}}
		}
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

func (p *historyPane) keyPress(k tea.KeyPressMsg) tea.Cmd {
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
		return nil
	}
	return p.act(p.list().Action(k.String()))
}

func (p *historyPane) promptKey(k tea.KeyPressMsg) tea.Cmd {
	switch p.prompt.Key(k) {
	case ui.Canceled:
		p.prompt.Close()
	case ui.Accepted:
		words := strings.TrimSpace(p.prompt.Text())
		if words == "" {
			p.prompt.Close()
			return nil
		}
		if err := p.push(words); err != nil {
			p.prompt.Note, p.prompt.Wrong = err.Error(), true
			return nil
		}
		p.prompt.Close()
		return p.app.changed()
	}
	return nil
}

// text is what find looks in.
func (p *historyPane) text(i int) string {
	r := &p.groups.Rows[i]
	return strings.Join(r.Keys, " ") + " " + strings.Join(r.Details, " ")
}

// push puts a filter on, and remembers from where.
func (p *historyPane) push(filter string) error {
	s := p.app.scope
	before := len(s.stack.Texts())
	if err := s.stack.Push(filter); err != nil {
		return err
	}
	if len(s.stack.Texts()) > before {
		s.crumbs = append(s.crumbs, crumb{tab: p.app.tab, field: p.field(), cursor: p.table.Cursor()})
	}
	return nil
}

// changed tells all tabs that the scope is another one.
func (a *App) changed() tea.Cmd {
	a.history.stale = true
	for _, p := range a.panes {
		if c, ok := p.(*connectionsPane); ok {
			c.stale = true
		}
	}
	return a.panes[a.tab].show(false)
}

// pop takes the last filter or range off and returns to where it was put on.
func (a *App) pop() tea.Cmd {
	s := a.scope
	n := len(s.crumbs)
	if n == 0 {
		return nil
	}
	c := s.crumbs[n-1]
	s.crumbs = s.crumbs[:n-1]
	if c.ranged {
		s.fixed = c.before
	} else {
		s.stack.Pop()
	}
	a.tab = c.tab
	if c.tab == historyTab {
		a.history.setView(c.field)
		a.history.cursor = c.cursor
	}
	return a.changed()
}

func (p *historyPane) setView(field string) {
	for i, v := range p.views {
		if v == field && i != p.view {
			p.view = i
			p.reset()
		}
	}
}

// reset empties the table: its rows are of another question.
func (p *historyPane) reset() {
	p.groups = query.Groups{}
	p.table.SetRows(0)
	p.layout()
	p.stale = true
}
