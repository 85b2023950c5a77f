package browse

import (
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/ui"
)

// finder looks for text in the rows of a table, and for a view by its name.
type finder struct {
	table  *ui.Table
	text   func(i int) string
	prompt ui.Prompt
	needle string
	views  *historyPane // set while a view is chosen
	from   int
}

func findKeys() ui.KeyMap {
	return ui.KeyMap{
		{Action: "find", Keys: []string{"/"}, Help: "find; then n and N", Hint: "find"},
		{Action: "again", Keys: []string{"n"}, Help: "find the next"},
		{Action: "before", Keys: []string{"N"}, Help: "find the one before"},
	}
}

// act does what a key of findKeys says, and reports whether it is one.
func (f *finder) act(action string) bool {
	switch action {
	case "find":
		f.views = nil
		f.from = f.table.Cursor()
		f.prompt.Open("find", "")
	case "again":
		f.find(true, false)
	case "before":
		f.find(false, false)
	default:
		return false
	}
	return true
}

// choose asks for the name of a view.
func (f *finder) choose(p *historyPane) {
	f.views = p
	f.prompt.Open("group by", "")
	f.prompt.Note = strings.Join(p.views, " ")
}

func (f *finder) paste(s string) {
	if f.prompt.IsOpen() {
		f.prompt.Paste(s)
	}
}

func (f *finder) find(forward, here bool) {
	if f.needle == "" || f.table.Find(f.needle, forward, here, f.text) {
		return
	}
	f.prompt.Note = "nothing found"
}

// key takes a key of the prompt.
func (f *finder) key(k tea.KeyPressMsg) tea.Cmd {
	switch f.prompt.Key(k) {
	case ui.Canceled:
		f.prompt.Close()
		if f.views == nil {
			f.table.Select(f.from)
		}
	case ui.Accepted:
		return f.accept()
	case ui.Editing:
		if f.views != nil {
			f.prompt.Note = strings.Join(f.matching(), " ")
			return nil
		}
		f.needle = f.prompt.Text()
		f.table.Select(max(0, f.from))
		f.find(true, true)
	}
	return nil
}

// matching are the views whose name begins with, or else has in it, what was
// typed.
func (f *finder) matching() (out []string) {
	words := strings.ToLower(strings.TrimSpace(f.prompt.Text()))
	for _, starts := range []bool{true, false} {
		for _, v := range f.views.views {
			match := strings.HasPrefix(v, words) || strings.HasPrefix(viewTitle(v), words)
			if !starts {
				match = strings.Contains(v, words) || strings.Contains(viewTitle(v), words)
			}
			if match && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

func (f *finder) accept() tea.Cmd {
	if f.views == nil {
		f.prompt.Close()
		return nil
	}
	list := f.matching()
	if len(list) == 0 {
		f.prompt.Note, f.prompt.Wrong = "no such view", true
		return nil
	}
	f.prompt.Close()
	f.views.setView(list[0])
	return f.views.show(false)
}
