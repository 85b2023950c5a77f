package policy

import (
	"testing"

	"snitch/monitor/event"
)

// TestRecompile: unlike Reload it compiles what is in use already; files that
// do not load change nothing, and are loaded once they are mended.
func TestRecompile(t *testing.T) {
	m := manage(t, t.TempDir(), t.TempDir())
	m.put(t, "a.yaml", one("deny"))
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if err := m.Reload(); err != nil || len(m.used) != 1 {
		t.Fatalf("reload: %v, used %d times", err, len(m.used))
	}
	if err := m.Recompile(); err != nil || len(m.used) != 2 {
		t.Fatalf("recompile: %v, used %d times", err, len(m.used))
	}
	m.put(t, "a.yaml", "version: 1\nrules: 7\n")
	if err := m.Recompile(); err == nil || len(m.used) != 2 || m.action(t) != event.ActionDeny {
		t.Errorf("recompile of bad rules: %v, used %d times", err, len(m.used))
	}
	m.put(t, "a.yaml", one("deny"))
	if err := m.Reload(); err != nil || len(m.used) != 2 || m.State().Error != "" {
		t.Errorf("mended: %v, used %d times, %q", err, len(m.used), m.State().Error)
	}
}
