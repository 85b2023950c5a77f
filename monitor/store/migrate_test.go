package store

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
	"snitch/monitor/store/schema"
)

// oldDatabase puts a database that the first release wrote into dir.
func oldDatabase(t *testing.T, dir string) {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", "schema-v1.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, schema.FileName), data, 0o640); err != nil {
		t.Fatal(err)
	}
}

// TestMigrateFromVersion1: a real database of schema 1 keeps all that it had,
// is written to, and knows its programs.
func TestMigrateFromVersion1(t *testing.T) {
	dir := t.TempDir()
	oldDatabase(t, dir)
	s := open(t, dir)
	for sql, want := range map[string]int64{
		"PRAGMA user_version":                    schema.Version,
		"SELECT count(*) FROM connection":        85,
		"SELECT sum(sent) FROM connection":       2370,
		"SELECT sum(sent) FROM batch":            2370,
		"SELECT count(*) FROM exec_log":          4,
		"SELECT count(*) FROM loss":              4,
		"SELECT count(input) FROM connection":    0,
		"SELECT count(context) FROM process":     0,
		"SELECT sum(provisional) FROM decision":  0,
		"SELECT length(value) FROM setting":      32,
		"SELECT count(*) FROM run WHERE clean=1": 1,
	} {
		if got := number(t, s, sql); got != want {
			t.Errorf("%s = %d, want %d", sql, got, want)
		}
	}
	known := connection(1000, base.Add(time.Hour), 1, 1) // curl, by bash, to a name and with a digest it had
	if got := s.Novelty(&known); got != nil {
		t.Errorf("novelty of a program of the old record: %q", got)
	}
	other := known
	other.ID, other.Name.Domain = 1001, "never.example.net"
	if got := s.Novelty(&other); !slices.Equal(got, []string{"destination"}) {
		t.Errorf("novelty of a new destination: %q", got)
	}
	s.Append(batch(base.Add(time.Hour), known, other))
	flush(t, s)
	checkWhole(t, s)
	if copies, err := filepath.Glob(filepath.Join(dir, "snitch.db.schema-1-*")); err != nil || len(copies) != 1 {
		t.Errorf("copies from before: %q (%v)", copies, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound(t, s.path)
	db, err := query.Open(t.Context(), s.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	old, recent := 0, 0
	err = db.History(t.Context(), query.Query{}, false, func(w *query.DecidedRow) error {
		_, complete, err := w.Connection()
		if complete {
			recent++
		} else {
			old++
		}
		return err
	})
	if err != nil || old != 85 || recent != 2 {
		t.Errorf("%d rows of schema 1 and %d later ones, want 85 and 2 (%v)", old, recent, err)
	}
}

// TestOldDatabaseIsNotRead: until the daemon brought it up to date, a reader
// says what to do.
func TestOldDatabaseIsNotRead(t *testing.T) {
	dir := t.TempDir()
	oldDatabase(t, dir)
	if _, err := query.Open(t.Context(), filepath.Join(dir, schema.FileName), nil); err == nil {
		t.Error("a database of schema 1 was opened")
	}
	if err := SetAlerts(t.Context(), dir, []int64{1}, event.AlertSeen); err == nil {
		t.Error("alerts of a database of schema 1 were set")
	}
}
