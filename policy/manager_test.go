package policy

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/policy/bundle"
	"snitch/policy/rule"
)

// managed is a manager over a real directory, with what it told.
type managed struct {
	*Manager
	engine *Engine
	dir    string

	mu     sync.Mutex
	used   []string
	alerts []event.Alert
}

func manage(t *testing.T, dir, state string) *managed {
	t.Helper()
	m := &managed{engine: New(Config{Mode: event.ModeAudit}, Deps{}), dir: dir}
	m.Manager = NewManager(ManagerConfig{
		Source: bundle.Directory{Path: dir}, Keeper: bundle.Keeper{Dir: state}, Engine: m.engine, Log: slog.New(slog.DiscardHandler),
		Compile: func(s *bundle.Snapshot) (*Policy, error) {
			files, err := s.FS()
			if err != nil {
				return nil, err
			}
			loaded, err := rule.Load(files, rule.Options{})
			if err != nil {
				return nil, err
			}
			return Prepare(t.Context(), loaded.Set, Options{})
		},
		Used: func(p *Policy, _ *bundle.Snapshot) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.used = append(m.used, p.Set.Revision)
		},
		Alert: func(a event.Alert) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.alerts = append(m.alerts, a)
		},
	})
	return m
}

func (m *managed) put(t *testing.T, name, text string) {
	t.Helper()
	tmp := filepath.Join(m.dir, "."+name)
	if err := errors.Join(os.WriteFile(tmp, []byte(text), 0o644), os.Rename(tmp, filepath.Join(m.dir, name))); err != nil {
		t.Fatal(err)
	}
}

func (m *managed) action(t *testing.T) event.Action {
	t.Helper()
	c := outbound(1, program("/bin/a"), "192.0.2.1:443")
	d, _ := m.engine.Decide(t.Context(), &c)
	return d.Action
}

func one(action string) string {
	return "version: 1\nrules:\n  - {id: r, action: " + action + ", process: any}\n"
}

// TestBadRulesChangeNothing: a bad file leaves what is in use, says where, tells
// it once, and mending it is noticed.
func TestBadRulesChangeNothing(t *testing.T) {
	m := manage(t, t.TempDir(), t.TempDir())
	m.put(t, "a.yaml", one("allow"))
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	m.put(t, "b.yaml", "version: 1\nrules:\n  - id: x\n    acton: deny\n")
	for range 3 {
		if err := m.Reload(); err == nil || !strings.Contains(err.Error(), "b.yaml:4:5: ") {
			t.Fatalf("got %v", err)
		}
	}
	if s := m.State(); m.action(t) != event.ActionAllow || !strings.Contains(s.Error, "b.yaml:4:5") || s.Kept || s.Loads != 1 || s.Failures != 3 {
		t.Errorf("after a bad file: %v, %+v", m.action(t), s)
	}
	if len(m.alerts) != 1 || m.alerts[0].Kind != event.AlertConfig || !strings.Contains(m.alerts[0].Reason, "b.yaml:4:5") {
		t.Errorf("alerts %+v", m.alerts)
	}
	if err := os.Remove(filepath.Join(m.dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := m.Reload(); err != nil {
		t.Fatal(err)
	}
	if s := m.State(); s.Error != "" || s.Loads != 1 {
		t.Errorf("after mending: %+v", s)
	}
	m.put(t, "a.yaml", one("deny"))
	if err := m.Reload(); err != nil || m.action(t) != event.ActionDeny || len(m.used) != 2 {
		t.Errorf("after a change: %v, %v, used %q", err, m.action(t), m.used)
	}
}

// TestLastGoodIsUsedAtStart: a daemon that starts on bad rules goes on with the
// last good ones, and says so.
func TestLastGoodIsUsedAtStart(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	bad := manage(t, dir, state)
	bad.put(t, "a.yaml", "version: 2\n")
	if err := bad.Start(); err == nil || !strings.Contains(err.Error(), "a.yaml:1:") {
		t.Fatalf("without a last good set: %v", err)
	}
	good := manage(t, dir, state)
	good.put(t, "a.yaml", one("deny"))
	if err := good.Start(); err != nil {
		t.Fatal(err)
	}
	next := manage(t, dir, state)
	next.put(t, "a.yaml", "version: 2\n")
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	if s := next.State(); next.action(t) != event.ActionDeny || !s.Kept || !strings.Contains(s.Error, "a.yaml:1:") || s.Revision != good.State().Revision || len(next.alerts) != 1 {
		t.Errorf("on the last good set: %v, %+v, alerts %d", next.action(t), s, len(next.alerts))
	}
	next.put(t, "a.yaml", one("allow"))
	if err := next.Reload(); err != nil || next.State().Kept || next.action(t) != event.ActionAllow {
		t.Errorf("after mending: %v, %+v", err, next.State())
	}
}

// TestStorm replaces the directory, two files that belong together, 50 times a
// second while decisions are made: each is by a whole set, and loads are few.
// (Files that are written one after the other are two sets for a moment: what
// is whole on disk only the writer knows.)
func TestStorm(t *testing.T) {
	parent := t.TempDir()
	m := manage(t, filepath.Join(parent, "rules"), t.TempDir())
	version := func(n int) {
		next := filepath.Join(parent, fmt.Sprint("v", n))
		link := filepath.Join(parent, "next")
		err := os.Mkdir(next, 0o755)
		for _, name := range []string{"a", "b"} { // both name the version; half a set would have two
			text := fmt.Sprintf("version: 1\nrules:\n  - {id: v%d.%s, action: allow, process: any}\n", n, name)
			err = errors.Join(err, os.WriteFile(filepath.Join(next, name+".yaml"), []byte(text), 0o644))
		}
		if err = errors.Join(err, os.Symlink(next, link), os.Rename(link, m.dir)); err != nil {
			t.Fatal(err)
		}
	}
	version(0)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- m.Run(t.Context()) }()
	time.Sleep(50 * time.Millisecond)
	decided := 0
	for n := 1; n <= 100; n++ {
		version(n)
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); decided++ {
			c := outbound(1, program("/bin/a"), "192.0.2.1:443")
			d, _ := m.engine.Decide(t.Context(), &c)
			if len(d.Matches) != 2 || strings.TrimSuffix(d.Matches[0].ID, ".a") != strings.TrimSuffix(d.Matches[1].ID, ".b") {
				t.Fatalf("a decision by half a set: %+v", d.Matches)
			}
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c := outbound(1, program("/bin/a"), "192.0.2.1:443")
		if d, _ := m.engine.Decide(t.Context(), &c); d.Rule == "v100.a" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the last version is not in use: %+v", m.State())
		}
	}
	if s := m.State(); s.Loads > 8 || s.Error != "" {
		t.Errorf("100 versions in 2 s made %d loads, error %q", s.Loads, s.Error)
	}
	t.Logf("%d decisions, %d loads", decided, m.State().Loads)
}
