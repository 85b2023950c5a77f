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

// scopeKeys are those of the tabs that look at a period of the past.
func scopeKeys() ui.KeyMap {
	return ui.KeyMap{
		{Action: "pop", Keys: []string{"backspace", "F", "E"}, Help: "take the last filter off", Hint: "back"},
		{Action: "type", Keys: []string{"\\", ":"}, Help: "type a filter, as 'snitch log' takes them", Hint: "filter"},
		{Action: "longer", Keys: []string{"t"}, Help: "longer period", Hint: "period"},
		{Action: "shorter", Keys: []string{"T"}, Help: "shorter period"},
		{Action: "earlier", Keys: []string{"h"}, Help: "a period earlier"},
		{Action: "later", Keys: []string{"H"}, Help: "a period later"},
		{Action: "units", Keys: []string{"u"}, Help: "other units of bytes"},
		{Action: "units back", Keys: []string{"U"}, Help: "units, the other way round"},
		{Action: "refresh", Keys: []string{"r"}, Help: "read again", Hint: "refresh"},
	}
}

func (p *historyPane) keys() ui.KeyMap {
	if p.detail != nil {
		return ui.DetailKeys()
	}
	return p.list()
}

// list is what keys do in the table.
func (p *historyPane) list() ui.KeyMap {
	keys := ui.KeyMap{
		{Action: "open", Keys: []string{"enter", "space"}, Help: "filter by the row and look into it", Hint: "open"},
		{Action: "include", Keys: []string{"f"}, Help: "filter by the row, stay here"},
		{Action: "exclude", Keys: []string{"e", "x"}, Help: "leave the row out", Hint: "exclude"},
		{Action: "next view", Keys: []string{"right", "l"}, Help: "group by the next field", Hint: "view"},
		{Action: "view before", Keys: []string{"left"}, Help: "group by the field before"},
		{Action: "choose", Keys: []string{"v"}, Help: "choose the field by its name"},
		{Action: "connections", Keys: []string{"c"}, Help: "the connections of what is shown", Hint: "connections"},
		{Action: "info", Keys: []string{"i"}, Help: "all about a program: hashes, ancestors, commands"},
		{Action: "sort", Keys: []string{"s"}, Help: "sort by the next column", Hint: "sort"},
		{Action: "reverse", Keys: []string{"S"}, Help: "turn the order round"},
	}
	return slices.Concat(keys, scopeKeys(), findKeys(), ui.MoveKeys())
}

func (p *historyPane) act(action string) tea.Cmd {
	switch action {
	case "open":
		return p.include(true)
	case "include":
		return p.include(false)
	case "exclude":
		return p.exclude()
	case "next view":
		return p.turn(1)
	case "view before":
		return p.turn(-1)
	case "choose":
		p.finder.choose(p)
	case "connections":
		return p.app.goTo(connectionsTab)
	case "info":
		return p.about()
	case "sort":
		s := p.sort()
		s.by = (s.by + 1) % query.GroupOrder(len(query.GroupOrders()))
		s.up = s.by == query.OrderName && p.field() != query.ByTime
		p.layout()
		return p.ask(false)
	case "reverse":
		p.sort().up = !p.sort().up
		p.layout()
		return p.ask(false)
	case "type":
		p.prompt.Open("filter", "")
		p.prompt.Note = "name=curl  domain=.example.org  !rport=443"
	}
	if p.finder.act(action) {
		return nil
	}
	return p.app.scopeAct(action)
}

// scopeAct does what is the same in every tab that looks at the past.
func (a *App) scopeAct(action string) tea.Cmd {
	s := a.scope
	switch action {
	case "pop":
		return a.pop()
	case "longer":
		s.longer(1)
	case "shorter":
		s.longer(-1)
	case "earlier":
		if !s.step(1) {
			return nil
		}
	case "later":
		if !s.step(-1) {
			return nil
		}
	case "units":
		s.units = s.units.Next()
		a.relayout()
		return nil
	case "units back":
		s.units = s.units.Prev()
		a.relayout()
		return nil
	case "refresh":
		return a.panes[a.tab].show(true)
	default:
		return nil
	}
	return a.changed()
}

func (a *App) relayout() {
	for _, p := range a.panes {
		if l, ok := p.(interface{ layout() }); ok {
			l.layout()
		}
	}
}

func (p *historyPane) turn(by int) tea.Cmd {
	p.view = (p.view + by + len(p.views)) % len(p.views)
	p.reset()
	return p.show(false)
}

// include filters by the row under the cursor; into goes to the view below.
func (p *historyPane) include(into bool) tea.Cmd {
	i := p.table.Cursor()
	if i < 0 {
		return nil
	}
	row := &p.groups.Rows[i]
	if p.field() == query.ByTime {
		if err := p.zoom(row.Keys[0]); err != nil {
			p.notice = err.Error()
			return nil
		}
		p.setView("exe")
		return p.app.changed()
	}
	if err := p.push(query.FilterFor(p.field(), row.Keys[0])); err != nil {
		p.notice = err.Error()
		return nil
	}
	if !into {
		return p.app.changed()
	}
	next := below(p.field(), p.seen())
	if next == "" {
		p.app.tab = connectionsTab
		return p.app.changed()
	}
	p.setView(next)
	return p.app.changed()
}

// zoom makes a bucket of time the period.
func (p *historyPane) zoom(key string) error {
	at, err := time.Parse(time.RFC3339, key)
	width := time.Duration(p.groups.Width)
	if err != nil || width <= 0 {
		return fmt.Errorf("%q is no time to look into", key)
	}
	s := p.app.scope
	s.crumbs = append(s.crumbs, crumb{tab: historyTab, field: query.ByTime, cursor: p.table.Cursor(), ranged: true, before: s.fixed})
	s.fixed = [2]time.Time{at, at.Add(width)}
	return nil
}

func (p *historyPane) exclude() tea.Cmd {
	i := p.table.Cursor()
	if i < 0 || p.field() == query.ByTime {
		return nil
	}
	if err := p.push("!" + query.FilterFor(p.field(), p.groups.Rows[i].Keys[0])); err != nil {
		p.notice = err.Error()
		return nil
	}
	p.cursor = i
	return p.app.changed()
}

// seen are the fields that filters already ask for one value of.
func (p *historyPane) seen() (out []string) {
	for _, t := range p.app.scope.stack.Texts() {
		if name, _, ok := strings.Cut(t, "="); ok && !strings.ContainsAny(name, "!~") {
			out = append(out, name)
		}
	}
	return out
}

// programMsg is the answer to about.
type programMsg struct {
	seq    uint64
	detail query.ExecutableDetail
	err    error
}

// about tells all of the program of a row.
func (p *historyPane) about() tea.Cmd {
	i := p.table.Cursor()
	name := p.field()[strings.LastIndexByte(p.field(), '.')+1:]
	if i < 0 || name != "exe" && name != "sha256" || p.app.deps.Program == nil || p.groups.Rows[i].Keys[0] == "" {
		p.notice = "only programs and hashes have more to tell: enter looks into the row"
		return nil
	}
	key, ask := p.groups.Rows[i].Keys[0], p.app.deps.Program
	p.detail = &ui.Detail{Title: key, Facts: []ui.Fact{{Name: "", Value: "reading …", Tone: ui.Dim}}}
	ctx, seq := p.info.begin(p.app.tasks)
	return p.app.tasks.run(ctx, func(ctx context.Context) tea.Msg {
		d, err := ask(ctx, key)
		return programMsg{seq, d, err}
	})
}

func programFacts(d *query.ExecutableDetail, u ui.Units) []ui.Fact {
	out := []ui.Fact{{Name: "file", Value: d.Path}, {Name: "sha256", Value: hashOf(&d.ExecutableInfo)}}
	add := func(name, value string) {
		if value != "" {
			out = append(out, ui.Fact{Name: name, Value: value})
		}
	}
	add("seen in", d.View)
	add("package", d.Package)
	add("first seen", d.First.Local().Format(time.DateTime))
	add("last active", d.Last.Local().Format(time.DateTime))
	add("connections", fmt.Sprintf("%s, %s sent, %s received", ui.Count(d.Connections), u.Bytes(d.Sent), u.Bytes(d.Received)))
	section := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		out = append(out, ui.Fact{Name: title})
		for _, l := range lines {
			out = append(out, ui.Fact{Value: l, Name: " "})
		}
	}
	var chains, hashes, paths []string
	for _, l := range d.Lineages {
		var names []string
		for _, a := range l.Ancestors {
			names = append(names, ui.Short(a.Exe, a.Name))
		}
		chains = append(chains, strings.Join(names, " ← "))
	}
	for i := range d.Hashes {
		h := &d.Hashes[i]
		hashes = append(hashes, fmt.Sprintf("%s  %s – %s", hashOf(h), h.First.Local().Format(time.DateOnly), h.Last.Local().Format(time.DateOnly)))
	}
	for i := range d.SamePaths {
		paths = append(paths, d.SamePaths[i].Path)
	}
	section("started by", chains)
	section("files that had this path", hashes)
	section("other paths of this file", paths)
	section("names", d.Names)
	section("commands", d.Cmdlines)
	section("scripts", d.Scripts)
	return out
}

func hashOf(x *query.ExecutableInfo) string {
	if x.SHA256 == "" {
		return "none: " + x.HashReason
	}
	return x.SHA256
}
