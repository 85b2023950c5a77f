package top

import (
	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/ui"
)

// App is `snitch top`: the live table alone on the terminal.
type App struct {
	model         *Model
	theme         *ui.Theme
	width, height int
	help          bool
	scroll        int
}

// NewApp shows a collector.
func NewApp(c *Collector) *App {
	return &App{model: NewModel(c), theme: ui.NewTheme(true), width: 80, height: 24}
}

// appKeys are the keys of the program around the table.
func appKeys() ui.KeyMap {
	return ui.KeyMap{
		{Action: "help", Keys: []string{"?"}, Help: "this help", Hint: "help"},
		{Action: "quit", Keys: []string{"q", "ctrl+c"}, Help: "quit", Hint: "quit"},
		{Action: "suspend", Keys: []string{"ctrl+z"}, Help: "back to the shell; 'fg' returns"},
	}
}

// Init implements tea.Model.
func (a *App) Init() tea.Cmd { return tea.Batch(tea.RequestBackgroundColor, a.model.Start()) }

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
		if cmd, done := a.key(msg); done {
			return a, cmd
		}
	}
	return a, a.model.Update(msg)
}

// key takes the keys of the program; in a prompt only ctrl+c is one.
func (a *App) key(k tea.KeyPressMsg) (tea.Cmd, bool) {
	key := k.String()
	if a.help {
		switch key {
		case "down", "j":
			a.scroll++
		case "up", "k":
			a.scroll = max(0, a.scroll-1)
		default:
			a.help, a.scroll = false, 0
		}
		return nil, true
	}
	if key != "ctrl+c" && a.model.Capturing() {
		return nil, false
	}
	switch appKeys().Action(key) {
	case "quit":
		return tea.Quit, true
	case "suspend":
		return tea.Suspend, true
	case "help":
		a.help = true
		return nil, true
	}
	return nil, false
}

// View implements tea.Model.
func (a *App) View() tea.View {
	var lines []string
	if a.help {
		lines = ui.HelpPage(a.theme, append(Keys(), appKeys()...), "snitch top", a.width, a.height, &a.scroll)
	} else {
		lines = append(a.model.Lines(a.theme, a.width, a.height-1), ui.Hints(a.theme, a.width, a.model.Keys(), appKeys()))
	}
	v := ui.Screen(a.theme, a.width, a.height, lines)
	v.WindowTitle = "snitch top"
	return v
}
