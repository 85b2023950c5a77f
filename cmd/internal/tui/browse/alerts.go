package browse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/text"
	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// maxAlerts bounds the alerts that are held.
const maxAlerts = 10_000

// alertsPane lists alerts; a person acknowledges them here.
type alertsPane struct {
	app    *App
	table  ui.Table
	rows   []event.Alert
	state  event.AlertState // which are shown; invalid: all
	asked  question
	doing  question // a change
	why    question
	finder finder
	detail *ui.Detail
	notice string
	read   bool
}

type alertsMsg struct {
	seq  uint64
	rows []event.Alert
	err  error
}

// alertSetMsg says how a change went.
type alertSetMsg struct {
	seq   uint64
	id    int64
	state event.AlertState
	err   error
}

// whyMsg is an explanation.
type whyMsg struct {
	seq   uint64
	words string
	err   error
}

func newAlertsPane(a *App) *alertsPane {
	p := &alertsPane{app: a, state: event.AlertNew}
	p.finder = finder{table: &p.table, text: p.text}
	p.layout()
	return p
}

func (p *alertsPane) name() string { return "alerts" }

func (p *alertsPane) capturing() bool { return p.finder.prompt.IsOpen() || p.detail != nil }

func (p *alertsPane) keys() ui.KeyMap {
	if p.detail != nil {
		return append(ui.DetailKeys(), p.list()[1:3]...)
	}
	return p.list()
}

// list is what keys do in the table.
func (p *alertsPane) list() ui.KeyMap {
	return slices.Concat(ui.KeyMap{
		{Action: "open", Keys: []string{"enter", "w"}, Help: "why: what the rules saw and decided", Hint: "why"},
		{Action: "seen", Keys: []string{"a"}, Help: "acknowledge: what repeats is counted, not told", Hint: "acknowledge"},
		{Action: "resolve", Keys: []string{"R"}, Help: "resolve: if it happens again it is new again", Hint: "resolve"},
		{Action: "state", Keys: []string{"o"}, Help: "show new, seen, resolved or all", Hint: "others"},
		{Action: "connections", Keys: []string{"c"}, Help: "the program's connections"},
		{Action: "refresh", Keys: []string{"r"}, Help: "read again", Hint: "refresh"},
	}, findKeys(), ui.MoveKeys())
}

func (p *alertsPane) show(force bool) tea.Cmd {
	if p.read && !force && p.asked.err == nil {
		return nil
	}
	p.read = true
	return p.ask(force)
}

func (p *alertsPane) ask(flush bool) tea.Cmd {
	deps, q := p.app.deps, query.AlertQuery{State: p.state, Limit: maxAlerts}
	ctx, seq := p.asked.begin(p.app.tasks)
	return p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
		if flush && deps.Flush != nil {
			_ = deps.Flush(ctx) // without a daemon the database is all there is
		}
		rows, err := deps.Alerts(ctx, q)
		return alertsMsg{seq, rows, err}
	})
}

func (p *alertsPane) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case alertsMsg:
		if p.asked.ended(msg.seq, msg.err) && msg.err == nil {
			p.rows = msg.rows
			p.table.SetRows(len(p.rows))
		}
	case alertSetMsg:
		if !p.doing.ended(msg.seq, msg.err) {
			return nil
		}
		if msg.err != nil {
			p.notice = msg.err.Error()
			return nil
		}
		p.notice = fmt.Sprintf("alert %d is %s", msg.id, msg.state)
		return p.ask(false)
	case whyMsg:
		if p.why.ended(msg.seq, msg.err) && p.detail != nil {
			p.detail.Facts = slices.DeleteFunc(p.detail.Facts, func(f ui.Fact) bool { return f.Value == readingWhy })
			p.detail.Facts = append(p.detail.Facts, whyFacts(msg)...)
		}
	case tea.PasteMsg:
		p.finder.paste(msg.Content)
	case tea.KeyPressMsg:
		return p.keyPress(msg)
	}
	return nil
}

func (p *alertsPane) keyPress(k tea.KeyPressMsg) tea.Cmd {
	p.notice = ""
	switch {
	case p.finder.prompt.IsOpen():
		return p.finder.key(k)
	case p.detail != nil:
		return p.detailKey(k.String())
	case p.table.Key(k.String()):
		return nil
	}
	return p.act(p.list().Action(k.String()))
}

// detailKey lets an alert be acknowledged from its explanation, too.
func (p *alertsPane) detailKey(key string) tea.Cmd {
	if p.detail.Key(key) {
		return nil
	}
	p.detail = nil
	if action := p.list().Action(key); action == "seen" || action == "resolve" {
		return p.act(action)
	}
	return nil
}

func (p *alertsPane) act(action string) tea.Cmd {
	if p.finder.act(action) {
		return nil
	}
	switch action {
	case "state":
		p.state = (p.state + 1) % (event.AlertResolved + 1)
		return p.ask(false)
	case "refresh":
		return p.show(true)
	}
	i := p.table.Cursor()
	if i < 0 {
		return nil
	}
	switch a := &p.rows[i]; action {
	case "seen":
		return p.set(a.ID, event.AlertSeen)
	case "resolve":
		return p.set(a.ID, event.AlertResolved)
	case "open":
		return p.explain(a)
	case "connections":
		return p.connections(a)
	}
	return nil
}

func (p *alertsPane) set(id int64, state event.AlertState) tea.Cmd {
	do := p.app.deps.SetAlerts
	ctx, seq := p.doing.begin(p.app.tasks)
	return p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
		return alertSetMsg{seq, id, state, do(ctx, []int64{id}, state)}
	})
}

const readingWhy = "asking the rules …"

// explain shows what happened, and asks why.
func (p *alertsPane) explain(a *event.Alert) tea.Cmd {
	p.detail = &ui.Detail{Title: alertTitle(a), Facts: append(alertFacts(a), ui.Fact{Name: "why"}, ui.Fact{Name: " ", Value: readingWhy, Tone: ui.Dim})}
	example, ask := *a, p.app.deps.Why
	ctx, seq := p.why.begin(p.app.tasks)
	return p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
		if ask == nil {
			return whyMsg{seq: seq, err: errors.New("not known here")}
		}
		words, err := ask(ctx, &example)
		return whyMsg{seq, words, err}
	})
}

func whyFacts(m whyMsg) []ui.Fact {
	if m.err != nil {
		return []ui.Fact{{Name: " ", Value: m.err.Error(), Tone: ui.Warn}}
	}
	var out []ui.Fact
	for line := range strings.Lines(m.words) {
		if line = strings.TrimRight(line, "\n"); line != "" {
			out = append(out, ui.Fact{Name: " ", Value: line})
		}
	}
	return out
}

// connections shows the connections of the alert's program.
func (p *alertsPane) connections(a *event.Alert) tea.Cmd {
	if a.Exe == "" {
		p.notice = "no program is part of this alert"
		return nil
	}
	s := p.app.scope
	before := len(s.stack.Texts())
	if err := s.stack.Push(query.FilterFor("exe", a.Exe)); err != nil {
		p.notice = err.Error()
		return nil
	}
	if len(s.stack.Texts()) > before {
		s.crumbs = append(s.crumbs, crumb{tab: alertsTab})
	}
	p.app.tab = connectionsTab
	return p.app.changed()
}

func (p *alertsPane) text(i int) string {
	a := &p.rows[i]
	return strings.Join([]string{a.Rule, a.Reason, a.Exe, a.Cmdline, a.Domain, a.Peer, a.User}, "\n")
}

func alertTitle(a *event.Alert) string {
	if a.Rule == "" {
		return fmt.Sprintf("alert %d: %s", a.ID, a.Kind)
	}
	return fmt.Sprintf("alert %d: %s", a.ID, a.Rule)
}

func alertFacts(a *event.Alert) []ui.Fact {
	var out []ui.Fact
	add := func(name, value string, tone ui.Tone) {
		if value != "" {
			out = append(out, ui.Fact{Name: name, Value: value, Tone: tone})
		}
	}
	add("state", a.State.String(), ui.Strong)
	add("rules said", a.Action, ui.VerdictTone(a.Action, a.Action))
	for line := range strings.Lines(a.Reason) {
		add("reason", strings.TrimRight(line, "\n"), ui.Plain)
	}
	add("times", fmt.Sprintf("%s, first %s, last %s", text.Plural(a.Count, "time"), a.First.Local().Format(time.DateTime), a.Last.Local().Format(time.DateTime)), ui.Plain)
	add("program", a.Exe, ui.Strong)
	add("seen in", a.ExeView, ui.Plain)
	add("sha256", a.SHA256, ui.Plain)
	add("command", a.Cmdline, ui.Plain)
	add("parent", a.ParentExe, ui.Plain)
	add("user", a.User, ui.Plain)
	if a.Peer == "" {
		return out
	}
	add("peer", strings.TrimSpace(ui.Arrow(a.Direction)+" "+a.Proto+" "+a.Peer+" "+a.Domain), ui.Plain)
	return out
}
