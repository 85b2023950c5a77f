package browse

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/top"
	"snitch/cmd/internal/tui/ui"
	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// Record is the database as it is read here.
type Record interface {
	Group(ctx context.Context, q query.GroupQuery) (query.Groups, error)
	Series(ctx context.Context, q query.SeriesQuery) (query.Series, error)
	Connections(ctx context.Context, q query.Query, f func(event.Record) error) error
}

// Deps is what an App reads from and acts through. All functions may block and
// are called aside.
type Deps struct {
	Record Record
	// Flush brings what the daemon has not written yet into the database; without
	// a daemon it does nothing.
	Flush  func(ctx context.Context) error
	Alerts func(ctx context.Context, q query.AlertQuery) ([]event.Alert, error)
	// SetAlerts says what the person did about alerts.
	SetAlerts func(ctx context.Context, ids []int64, state event.AlertState) error
	// Why explains the decision behind an alert.
	Why func(ctx context.Context, a *event.Alert) (string, error)
	// Rules are those in use, with what they did.
	Rules func(ctx context.Context) ([]Rule, error)
	// Program is all that is known of a program, by path or SHA-256.
	Program func(ctx context.Context, key string) (query.ExecutableDetail, error)
	// Place says where an address is, "" when that is not known. It is called for
	// what is seen only, and does not block. It may be nil.
	Place func(address string) string
	// Follow fills the live table until ctx ends.
	Follow func(ctx context.Context, c *top.Collector)
	Now    func() time.Time
}

// Rule is a rule in use and what it did.
type Rule struct {
	ID, Action, Mode string
	Reason           string
	Where            string // file:line
	Text             string // as it is written
	Expires          time.Time
	Counts           event.RuleCount
}

// pane is one tab.
type pane interface {
	name() string
	keys() ui.KeyMap
	update(msg tea.Msg) tea.Cmd
	// show is called when the tab comes up, and when what the tabs share has
	// changed; force asks anew in any case.
	show(force bool) tea.Cmd
	lines(t *ui.Theme, width, height int) []string
	capturing() bool // all keys go to it
}

// App is the whole interface.
type App struct {
	deps          Deps
	tasks         *tasks
	scope         *scope
	theme         *ui.Theme
	panes         []pane
	history       *historyPane
	tab           int
	width, height int
	help          bool
	scroll        int
}

// New makes the interface; ctx ends all that runs aside.
func New(ctx context.Context, deps Deps) *App {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	a := &App{deps: deps, tasks: newTasks(ctx), theme: ui.NewTheme(true), width: 80, height: 24}
	a.scope = &scope{now: deps.Now, period: startPeriod}
	a.history = newHistoryPane(a)
	a.panes = []pane{a.history, newConnectionsPane(a), newAlertsPane(a), newPolicyPane(a), newLivePane(a)}
	return a
}

// Close ends what runs aside and waits for it.
func (a *App) Close() { a.tasks.close() }

func (a *App) place(address string) string {
	if a.deps.Place == nil || address == "" {
		return ""
	}
	return a.deps.Place(address)
}

// Tabs, in the order of New.
const (
	historyTab = iota
	connectionsTab
	alertsTab
	policyTab
	liveTab
)

func appKeys() ui.KeyMap {
	return ui.KeyMap{
		{Action: "next tab", Keys: []string{"tab"}, Help: "next tab; 1 to 5: that one", Hint: "tabs"},
		{Action: "tab before", Keys: []string{"shift+tab"}, Help: "tab before"},
		{Action: "help", Keys: []string{"?"}, Help: "this help", Hint: "help"},
		{Action: "quit", Keys: []string{"q", "ctrl+c"}, Help: "quit", Hint: "quit"},
		{Action: "suspend", Keys: []string{"ctrl+z"}, Help: "back to the shell; 'fg' returns"},
	}
}

// Init implements tea.Model.
func (a *App) Init() tea.Cmd { return tea.Batch(tea.RequestBackgroundColor, a.panes[a.tab].show(true)) }

// Update implements tea.Model.
func (a *App) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		a.width, a.height = msg.Width, msg.Height
		return a, nil
	case tea.BackgroundColorMsg:
		a.theme = ui.NewTheme(msg.IsDark())
		return a, nil
	case tea.KeyPressMsg:
		if cmd, done := a.key(msg.String()); done {
			return a, cmd
		}
		return a, a.panes[a.tab].update(msg)
	case tea.PasteMsg:
		return a, a.panes[a.tab].update(msg)
	}
	// An answer finds its pane by its type, also when another tab is up.
	cmds := make([]tea.Cmd, len(a.panes))
	for i, p := range a.panes {
		cmds[i] = p.update(msg)
	}
	return a, tea.Batch(cmds...)
}

// key takes the keys that all tabs have.
func (a *App) key(key string) (tea.Cmd, bool) {
	if a.help {
		a.helpKey(key)
		return nil, true
	}
	if key != "ctrl+c" && a.panes[a.tab].capturing() {
		return nil, false
	}
	if len(key) == 1 && key[0] >= '1' && int(key[0]-'1') < len(a.panes) {
		return a.goTo(int(key[0] - '1')), true
	}
	switch appKeys().Action(key) {
	case "quit":
		return tea.Quit, true
	case "suspend":
		return tea.Suspend, true
	case "help":
		a.help = true
		return nil, true
	case "next tab":
		return a.goTo((a.tab + 1) % len(a.panes)), true
	case "tab before":
		return a.goTo((a.tab + len(a.panes) - 1) % len(a.panes)), true
	}
	return nil, false
}

func (a *App) helpKey(key string) {
	switch key {
	case "down", "j":
		a.scroll++
	case "up", "k":
		a.scroll = max(0, a.scroll-1)
	default:
		a.help, a.scroll = false, 0
	}
}

// goTo brings a tab up.
func (a *App) goTo(tab int) tea.Cmd {
	a.tab = tab
	return a.panes[tab].show(false)
}

// View implements tea.Model.
func (a *App) View() tea.View {
	keys := a.panes[a.tab].keys()
	var lines []string
	if a.help {
		lines = ui.HelpPage(a.theme, append(keys, appKeys()...), "snitch tui › "+a.panes[a.tab].name(), a.width, a.height, &a.scroll)
	} else {
		lines = append([]string{a.head()}, a.panes[a.tab].lines(a.theme, a.width, a.height-2)...)
		lines = append(lines, ui.Hints(a.theme, a.width, keys, appKeys()))
	}
	v := ui.Screen(a.theme, a.width, a.height, lines)
	v.WindowTitle = "snitch"
	return v
}

// head names the tabs.
func (a *App) head() string {
	var left []ui.Span
	if a.width >= 76 {
		left = append(left, ui.Span{Text: " snitch  ", Tone: ui.Strong})
	}
	for i, p := range a.panes {
		name, tone, mark := p.name(), ui.Dim, " "
		if i == a.tab {
			tone, mark = ui.Accent, "▸"
		} else if a.width < 60 {
			name = string(rune('1' + i))
		}
		left = append(left, ui.Span{Text: mark + name + " ", Tone: tone})
	}
	return a.theme.Split(a.width, left, []ui.Span{{Text: a.scope.label() + " ", Tone: ui.Plain}})
}
