package browse

import (
	"context"
	"slices"

	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/top"
	"snitch/cmd/internal/tui/ui"
)

// livePane is the live table. It follows the daemon from when it is first
// looked at: the daemon serves a bounded number of followers.
type livePane struct {
	app       *App
	model     *top.Model
	collector *top.Collector
	started   bool
}

// followedMsg says that following ended.
type followedMsg struct{}

func newLivePane(a *App) *livePane {
	c := top.NewCollector()
	return &livePane{app: a, collector: c, model: top.NewModel(c)}
}

func (p *livePane) name() string { return "live" }

// keys leaves out those that the tabs have taken.
func (p *livePane) keys() ui.KeyMap {
	keys := p.model.Keys()
	for i := range keys {
		keys[i].Keys = slices.DeleteFunc(keys[i].Keys, func(k string) bool { return appKeys().Action(k) != "" })
	}
	return keys
}

func (p *livePane) capturing() bool { return p.model.Capturing() }

func (p *livePane) update(msg tea.Msg) tea.Cmd { return p.model.Update(msg) }

func (p *livePane) show(bool) tea.Cmd {
	if p.started || p.app.deps.Follow == nil {
		return nil
	}
	p.started = true
	follow, c := p.app.deps.Follow, p.collector
	return tea.Batch(p.model.Start(), p.app.tasks.run(p.app.tasks.ctx, func(ctx context.Context) tea.Msg {
		follow(ctx, c)
		return followedMsg{}
	}))
}

func (p *livePane) lines(t *ui.Theme, width, height int) []string {
	if p.app.deps.Follow == nil {
		return ui.Message(t, width, height, "this is the past only: a database without its daemon")
	}
	return p.model.Lines(t, width, height)
}
