package top

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"snitch/cmd/internal/tui/ui"
)

// Model is the live table. It belongs to the goroutine of the interface.
type Model struct {
	collector *Collector
	now       func() time.Time

	table   ui.Table
	ask     Ask
	stack   ui.Stack
	rows    []*Row
	state   State
	units   ui.Units
	paused  bool
	running bool   // ticks arrive
	asked   uint64 // the newest question: older answers are not shown
	key     string // of the row under the cursor
	pinned  bool   // the cursor stays on its row, wherever that goes
	prompt  ui.Prompt
	mode    promptMode
	needle  string
	detail  *ui.Detail
	from    []View // views that enter came from
	notice  string
}

// promptMode is what the prompt asks for.
type promptMode uint8

const (
	finding promptMode = iota
	filtering
)

// tickMsg says that a sample is over.
type tickMsg struct{}

// rowsMsg is the answer to a question.
type rowsMsg struct {
	asked uint64
	tick  bool
	rows  []*Row
	state State
}

// NewModel shows a collector.
func NewModel(c *Collector) *Model {
	m := &Model{collector: c, now: time.Now}
	m.layout()
	return m
}

// Start begins the ticks. It may be called again.
func (m *Model) Start() tea.Cmd {
	if m.running {
		return nil
	}
	m.running = true
	return m.query(true)
}

// Update takes a message.
func (m *Model) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tickMsg:
		return m.query(true)
	case rowsMsg:
		return m.answer(msg)
	case tea.PasteMsg:
		if m.prompt.IsOpen() {
			m.prompt.Paste(msg.Content)
		}
	case tea.KeyPressMsg:
		return m.keyPress(msg)
	}
	return nil
}

// query asks the collector, aside. tick begins the next sample first.
func (m *Model) query(tick bool) tea.Cmd {
	m.asked++
	asked, ask, c, now := m.asked, m.ask, m.collector, m.now
	ask.Filters = m.stack.Filters()
	return func() tea.Msg {
		if tick {
			c.Advance(now())
		}
		return rowsMsg{asked: asked, tick: tick, rows: c.Rows(ask), state: c.State()}
	}
}

func (m *Model) answer(msg rowsMsg) tea.Cmd {
	var next tea.Cmd
	if msg.tick {
		next = tea.Tick(Tick, func(time.Time) tea.Msg { return tickMsg{} })
	}
	if msg.asked != m.asked || m.paused && msg.tick {
		return next
	}
	m.rows, m.state = msg.rows, msg.state
	m.place()
	return next
}

// place keeps the cursor on its row once it was moved; before, it stays at the
// top, where the most happens.
func (m *Model) place() {
	at := m.table.Cursor()
	m.table.SetRows(len(m.rows))
	if !m.pinned {
		return
	}
	for i, r := range m.rows {
		if r.Key == m.key {
			m.table.Select(i)
			return
		}
	}
	m.table.Select(at)
}

// Capturing reports whether all keys go to a prompt or a view on top.
func (m *Model) Capturing() bool { return m.prompt.IsOpen() || m.detail != nil }

func (m *Model) keyPress(k tea.KeyPressMsg) tea.Cmd {
	m.notice = ""
	switch {
	case m.prompt.IsOpen():
		return m.promptKey(k)
	case m.detail != nil:
		if key := k.String(); !m.detail.Key(key) {
			m.detail = nil
		}
		return nil
	case m.table.Key(k.String()):
		m.pin()
		return nil
	}
	return m.act(Keys().Action(k.String()))
}

func (m *Model) pin() {
	if i := m.table.Cursor(); i >= 0 {
		m.key, m.pinned = m.rows[i].Key, i > 0
	}
}

func (m *Model) promptKey(k tea.KeyPressMsg) tea.Cmd {
	switch m.prompt.Key(k) {
	case ui.Canceled:
		m.prompt.Close()
	case ui.Accepted:
		return m.accept()
	case ui.Editing:
		if m.mode == finding {
			m.needle = m.prompt.Text()
			m.find(true, true)
		}
	}
	return nil
}

func (m *Model) accept() tea.Cmd {
	words := strings.TrimSpace(m.prompt.Text())
	if m.mode == finding || words == "" {
		m.prompt.Close()
		return nil
	}
	if err := m.stack.Push(words); err != nil {
		m.prompt.Note, m.prompt.Wrong = err.Error(), true
		return nil
	}
	m.prompt.Close()
	return m.query(false)
}

func (m *Model) find(forward, here bool) {
	if m.needle == "" {
		return
	}
	if m.table.Find(m.needle, forward, here, func(i int) string { return m.rows[i].text() }) {
		m.pin()
	} else {
		m.notice = "nothing found"
		m.prompt.Note = "nothing found"
	}
}

// text is what find looks in.
func (r *Row) text() string {
	rec := r.Record
	return strings.Join([]string{r.Name, rec.Exe, rec.Cmdline, rec.Domain, rec.RAddr, rec.User, rec.Rule, rec.Proto}, "\n")
}
