package store

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"snitch/monitor/event"
	"snitch/monitor/store/query"
)

// ruleSets reads all sets with their files.
func ruleSets(t *testing.T, s *Store) (map[string][]query.RuleFile, []query.RuleSet) {
	t.Helper()
	db, err := query.Open(t.Context(), s.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sets, err := db.RuleSets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]query.RuleFile{}
	for _, set := range sets {
		if out[set.Revision], err = db.RuleFiles(t.Context(), set.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.RuleFiles(t.Context(), 12345); !errors.Is(err, query.ErrNoRuleSet) {
		t.Errorf("files of a set that is not there: %v", err)
	}
	return out, sets
}

// TestRuleSets: sets come back byte for byte, share files, and those that
// decided nothing in the record go.
func TestRuleSets(t *testing.T) {
	c := clock{base}
	s := open(t, t.TempDir(), c.config, func(c *Config) { c.MaxAge = time.Hour })
	list := RuleFile{"lists/bad.txt", bytes.Repeat([]byte("host.example\n"), 100_000)}
	put := func(revision, text string) {
		t.Helper()
		if err := s.PutRuleSet(revision, []RuleFile{{"a.yaml", []byte(text)}, list, {"empty.rego", nil}}); err != nil {
			t.Fatal(err)
		}
	}
	put("r1", "version: 1\n")
	put("r1", "version: 1\n")
	put("r2", "version: 1 # two\n")
	conn := connection(1, base, 1, 1)
	conn.Closed, conn.Decision.Revision = true, "r1"
	s.Append(batch(base, conn))
	flush(t, s)
	put("r1", "version: 1\n") // as after a restart
	flush(t, s)
	got, sets := ruleSets(t, s)
	if len(sets) != 2 || len(got["r1"]) != 3 || string(got["r1"][0].Data) != "version: 1\n" || string(got["r2"][0].Data) != "version: 1 # two\n" ||
		!bytes.Equal(got["r2"][2].Data, list.Data) || len(got["r1"][1].Data) != 0 {
		t.Fatalf("sets = %+v", sets)
	}
	if n := number(t, s, "SELECT count(*) FROM rulefile"); n != 4 {
		t.Errorf("%d files are kept, want 4: a list that did not change is kept once", n)
	}
	c.now = base.Add(time.Minute)
	put("r3", "version: 1 # three\n")
	stays := connection(2, base, 1, 1)
	stays.Decision.Revision = "r3"
	s.Append(batch(base, stays))
	flush(t, s)
	c.now = base.Add(3 * time.Hour)
	keepHouse(t, s) // the closed row goes, and with it what decided it
	if got, _ = ruleSets(t, s); len(got) != 1 || len(got["r3"]) != 3 {
		t.Errorf("%d sets after the rows are gone, want r3, which is in force", len(got))
	}
	if n := number(t, s, "SELECT count(*) FROM rulefile"); n != 3 {
		t.Errorf("%d files are kept, want 3", n)
	}
}

func TestRuleSetBounds(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.PutRuleSet("r", []RuleFile{{Path: "x", Data: make([]byte, maxRuleFile)}, {Path: "y", Data: []byte{1}}}); !errors.Is(err, ErrRuleSetTooLarge) {
		t.Errorf("too many bytes: %v", err)
	}
	if err := s.PutRuleSet("r", make([]RuleFile, maxRuleFiles+1)); !errors.Is(err, ErrRuleSetTooLarge) {
		t.Errorf("too many files: %v", err)
	}
	if err := s.PutRuleSet("r", []RuleFile{{Path: "x"}, {Path: "x"}}); err == nil {
		t.Error("one path twice was accepted")
	}
}

// TestNewFileKnows: when the file is lost while the daemon runs, the next one
// gets the rule set in force and all that was known.
func TestNewFileKnows(t *testing.T) {
	s := open(t, t.TempDir())
	if err := s.PutRuleSet("r1", []RuleFile{{"a.yaml", []byte("version: 1\n")}}); err != nil {
		t.Fatal(err)
	}
	c := connection(1, base, 1, 1)
	c.Novelty = s.Novelty(&c)
	s.Append(batch(base, c))
	flush(t, s)
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	s.Append(Batch{Time: base, Losses: []event.Loss{{Time: base, Cause: event.LossHash, Count: 1}}})
	flush(t, s)
	s.Append(Batch{Time: base})
	flush(t, s)
	if got, _ := ruleSets(t, s); len(got["r1"]) != 1 {
		t.Errorf("%d sets in the new file", len(got))
	}
	before := number(t, s, "SELECT count(*) FROM known")
	dir := s.cfg.Dir
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	c.ID = 2
	if got := s.Novelty(&c); before != 3 || got != nil {
		t.Errorf("the new file has %d facts, want 3; novelty of what was known: %q", before, got)
	}
}
