package record_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
	"snitch/policy/rule"
	"snitch/tools/seed/record"
)

var end = time.Date(2026, 6, 30, 18, 0, 0, 0, time.UTC)

// made makes a record and opens it.
func made(t *testing.T, n, days int, seed uint64) *query.DB {
	t.Helper()
	dir := t.TempDir()
	if err := record.Make(t.Context(), record.Config{Dir: dir, Connections: n, Days: days, Seed: seed, End: end}); err != nil {
		t.Fatal(err)
	}
	db, err := query.Open(t.Context(), filepath.Join(dir, schema.FileName), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// dump is everything, as text.
func dump(t *testing.T, db *query.DB) (lines []string) {
	t.Helper()
	err := db.Connections(t.Context(), query.Query{}, func(r event.Record) error {
		lines = append(lines, fmt.Sprintf("%+v", r))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := db.Alerts(t.Context(), query.AlertQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return append(lines, fmt.Sprintf("%+v", alerts))
}

// TestSame: the same numbers make the same record, others another.
func TestSame(t *testing.T) {
	a, b, c := dump(t, made(t, 2000, 3, 7)), dump(t, made(t, 2000, 3, 7)), dump(t, made(t, 2000, 3, 8))
	for i := range min(len(a), len(b)) {
		if stripPointers(a[i]) != stripPointers(b[i]) {
			t.Fatalf("line %d differs:\n%s\n%s", i, a[i], b[i])
		}
	}
	if len(a) != len(b) || strings.Join(a, "\n") == strings.Join(c, "\n") {
		t.Errorf("%d and %d lines; another seed makes the same: %v", len(a), len(b), strings.Join(a, "\n") == strings.Join(c, "\n"))
	}
}

// stripPointers takes addresses of memory out of what %+v prints.
func stripPointers(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "0x")
		if i < 0 {
			return b.String() + s
		}
		b.WriteString(s[:i])
		s = strings.TrimLeft(s[i+2:], "0123456789abcdef")
	}
}

// TestWhole: a record has of everything that interfaces show.
func TestWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("short: makes 20,000 connections and groups them in every way")
	}
	db := made(t, 20_000, 20, 1)
	for by, least := range map[string]int{"exe": 25, "domain": 300, "country": 12, "uid": 6, "service": 15, "container": 4, "action": 3, "would": 3, "mode": 2, "result": 7,
		"domain_source": 4, "rule": 10, "family": 2, "direction": 3, "parent.exe": 6, "script": 3, "sha256": 40, "package": 20} {
		g, err := db.Group(t.Context(), query.GroupQuery{By: []string{by}})
		if err != nil {
			t.Fatal(err)
		}
		if g.Count < least {
			t.Errorf("%d different %s, want at least %d", g.Count, by, least)
		}
	}
	o, err := db.Overview(t.Context(), end.AddDate(0, 0, -7), end)
	if err != nil {
		t.Fatal(err)
	}
	if k := o.Now; k.Denied == 0 || k.WouldDeny == 0 || k.Alerts == 0 || k.NewPrograms == 0 || o.Before == nil || o.Before.Connections == 0 {
		t.Errorf("overview: %+v, before %+v", o.Now, o.Before)
	}
	all, err := db.Group(t.Context(), query.GroupQuery{By: []string{"direction"}})
	if err != nil || all.Total.Connections < 20_000 || all.Total.Connections > 20_100 { // and some that listen
		t.Errorf("%d connections (%v)", all.Total.Connections, err)
	}
	h, err := db.Health(t.Context(), time.Time{}, time.Time{})
	if err != nil || len(h.Runs) != 4 || len(h.Gaps) != 3 || h.Rows != all.Total.Connections {
		t.Errorf("health: %+v (%v)", h, err)
	}
}

// TestRules: the rules that decided are rules.
func TestRules(t *testing.T) {
	src, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rule.Parse("rules.yaml", src); err != nil {
		t.Error(err)
	}
}

func TestBounds(t *testing.T) {
	for _, cfg := range []record.Config{{Days: 1}, {Connections: 1}, {Connections: 1, Days: 100_000}} {
		cfg.Dir = t.TempDir()
		if err := record.Make(t.Context(), cfg); err == nil {
			t.Errorf("%+v was made", cfg)
		}
	}
	dir := t.TempDir()
	cfg := record.Config{Dir: dir, Connections: 10, Days: 1, End: end}
	if err := record.Make(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := record.Make(t.Context(), cfg); err == nil {
		t.Error("a database was written over")
	}
}
