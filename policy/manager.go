package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"snitch/monitor/event"
	"snitch/policy/bundle"
)

// Source is where a Manager reads rules. Read returns all files of one moment.
type Source interface {
	Read() (*bundle.Snapshot, error)
	// Watch calls changed when it may be worth reading again, until ctx ends.
	Watch(ctx context.Context, log *slog.Logger, changed func()) error
}

// ManagerConfig is what NewManager needs.
type ManagerConfig struct {
	Source  Source
	Keeper  bundle.Keeper
	Compile func(*bundle.Snapshot) (*Policy, error)
	Engine  *Engine
	// Used is called with a policy that just came into use: the record keeps
	// its files, and open connections are decided again.
	Used func(*Policy, *bundle.Snapshot)
	// Alert tells what people should know.
	Alert func(event.Alert)
	Log   *slog.Logger
}

// Manager brings policies from a source to an engine. It is safe for
// concurrent use.
type Manager struct {
	cfg ManagerConfig

	mu     sync.Mutex // one load at a time
	digest string     // of the snapshot in use
	failed string     // digest of the last snapshot that did not load

	view  sync.Mutex
	state State
}

// State is what a Manager tells of itself.
type State struct {
	Source   string
	Revision string
	Loaded   time.Time
	Took     time.Duration
	Rules    int
	Confine  int
	Kept     bool   // the source did not load: these are the last good ones
	Error    string // why not, with file:line:col, a line each
	Loads    uint64
	Failures uint64
}

// NewManager makes a manager.
func NewManager(cfg ManagerConfig) *Manager { return &Manager{cfg: cfg} }

// Start loads the source. If that fails it goes on with the last good set, if
// there is one, and else returns the error.
func (m *Manager) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	digest, err := m.load()
	if err == nil {
		return nil
	}
	kept, loadErr := m.cfg.Keeper.Load()
	if loadErr != nil {
		if !errors.Is(loadErr, fs.ErrNotExist) {
			err = errors.Join(err, loadErr)
		}
		return err
	}
	p, compileErr := m.cfg.Compile(kept)
	if compileErr != nil {
		return errors.Join(err, fmt.Errorf("kept rules: %w", compileErr))
	}
	m.use(p, kept, true)
	m.fail(err, digest)
	m.cfg.Log.Warn("the last good rules are used", "source", kept.Source, "revision", p.Set.Revision)
	return nil
}

// Reload reads the source and uses what it finds. On an error, with file:line:col
// where there are such, nothing changes. What is in use already is not
// loaded again.
func (m *Manager) Reload() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	digest, err := m.load()
	if err != nil {
		m.fail(err, digest)
	}
	return err
}

// Recompile reads the source and compiles what it finds, also what is in use
// already: what Compile adds to the files is another now.
func (m *Manager) Recompile() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.digest
	m.digest = ""
	digest, err := m.load()
	if err != nil {
		m.digest = before
		m.fail(err, digest)
	}
	return err
}

// load reads, compiles and uses. The caller holds mu.
func (m *Manager) load() (digest string, err error) {
	snapshot, err := m.cfg.Source.Read()
	if err != nil {
		return "", err
	}
	digest = snapshot.Digest()
	if digest == m.digest {
		m.heal()
		return digest, nil
	}
	p, err := m.cfg.Compile(snapshot)
	if err != nil {
		return digest, err
	}
	if err := m.cfg.Keeper.Save(snapshot); err != nil {
		m.cfg.Log.Error("the rules are used, and will not be there after a restart if their source is not", "error", err)
	}
	m.digest = digest
	m.use(p, snapshot, false)
	m.cfg.Log.Info("rules loaded", "revision", p.Set.Revision, "rules", len(p.Set.Rules), "took", p.Took)
	return digest, nil
}

// use swaps. The caller holds mu.
func (m *Manager) use(p *Policy, from *bundle.Snapshot, kept bool) {
	m.cfg.Engine.Use(p)
	m.view.Lock()
	m.state.Source, m.state.Revision, m.state.Loaded, m.state.Took = from.Source, p.Set.Revision, p.Loaded, p.Took
	m.state.Rules, m.state.Confine, m.state.Kept = len(p.Set.Rules), len(p.Set.Confine), kept
	m.state.Loads++
	if !kept {
		m.state.Error, m.failed = "", ""
	}
	m.view.Unlock()
	m.cfg.Used(p, from)
}

// heal forgets an error: the files are again those that are in use.
func (m *Manager) heal() {
	m.view.Lock()
	defer m.view.Unlock()
	m.state.Error, m.state.Kept, m.failed = "", false, ""
}

// fail tells an error, the same state of the files once.
func (m *Manager) fail(err error, digest string) {
	m.view.Lock()
	told := m.state.Error == err.Error() && m.failed == digest
	m.state.Error, m.failed = err.Error(), digest
	m.state.Failures++
	m.view.Unlock()
	if told {
		return
	}
	m.cfg.Log.Error("the rules do not load, those in use stay", "error", err)
	m.cfg.Alert(event.NewAlert(event.AlertConfig, "rules", event.ActionNone, err.Error(), time.Now(), nil))
}

// Run watches the source until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	return m.cfg.Source.Watch(ctx, m.cfg.Log, func() { _ = m.Reload() }) // fail told it
}

// State is a copy.
func (m *Manager) State() State {
	m.view.Lock()
	defer m.view.Unlock()
	return m.state
}
