package evasion

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of attempts into docs/security.md")

const (
	document   = "../../docs/security.md"
	tableBegin = "<!-- evasion: begin -->\n"
	tableEnd   = "<!-- evasion: end -->\n"
)

// TestTable holds the document against the attempts, whose results TestEvasion
// proves.
func TestTable(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	got, after, ends := strings.Cut(rest, tableEnd)
	if !ok || !ends {
		t.Fatalf("%s has no table between %q and %q", document, tableBegin, tableEnd)
	}
	want := table()
	if got == want {
		return
	}
	if !*update {
		t.Fatalf("%s is older than the attempts: go test ./enforce/evasion -run TestTable -update", document)
	}
	if err := os.WriteFile(document, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// table is what comes of each attempt, for people.
func table() string {
	var b strings.Builder
	counts := map[result]int{}
	for _, a := range attempts() {
		counts[a.result]++
	}
	fmt.Fprintf(&b, "%d attempts: %d stopped, %d seen, %d limits, %d open.\n\n", len(attempts()), counts[stopped], counts[seen], counts[limit], counts[open])
	b.WriteString("| attempt (`TestEvasion/…`) | what is tried | result | by what, or why |\n|---|---|---|---|\n")
	for _, a := range attempts() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", a.name, a.does, a.result, a.by)
	}
	return b.String()
}

// TestAttempts holds that each attempt has all of its parts and a name of its own.
func TestAttempts(t *testing.T) {
	names := map[string]bool{}
	short := 0
	for _, a := range attempts() {
		if names[a.name] || a.name == "" {
			t.Errorf("%q is the name of two attempts", a.name)
		}
		names[a.name] = true
		if a.does == "" || a.by == "" || a.act == nil || a.result < stopped || a.result > open {
			t.Errorf("%s: a part is missing", a.name)
		}
		if (a.result == seen) != (a.like != nil) {
			t.Errorf("%s: what is seen has a record, and nothing else", a.name)
		}
		if strings.Contains(a.does+a.by, "|") {
			t.Errorf("%s: a table cannot show |", a.name)
		}
		if a.short {
			short++
		}
	}
	if len(names) < 30 || short < 8 {
		t.Errorf("%d attempts, %d of them quick: want 30 and 8", len(names), short)
	}
}
