package rule_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"snitch/policy/rule"
)

// hostile are pieces of texts that YAML, or who reads it, could take for
// something else.
var hostile = []string{" ", "  ", "\t", "\n", "\r", ": ", ":", " #", "#", "- ", "-", "? ", "'", `"`, `\`, "`", "@", "&", "!", "%", "|", ">", "*", "{", "}", "[", "]", ",",
	"~", "null", "yes", "0x1F", "0o17", "1_000", "1e3", ".inf", "2026-11-23", "<<", "=", "---", "...", "%YAML", "/", "a", "é", "\u00a0", "\u0085", "\u2028", "\u202e", "\ufeff", "\ufffd",
	"\U0001F600", "\x00", "\x1b", "\x7f", "\u0080", "\ud7ff", "\ue000"}

// keysOfTexts are the places of a rule and of a case where a text may stand.
var keysOfTexts = []string{
	`{id: a, action: allow, process: {exe: %s}}`, `{id: a, action: allow, process: {exe: [/x, %s]}}`, `{id: a, action: allow, process: {script: %s}}`,
	`{id: a, action: allow, process: {name: %s}}`, `{id: a, action: allow, process: {cmdline: %s}}`, `{id: a, action: allow, process: {user: %s}}`,
	`{id: a, action: allow, process: {cgroup: %s}}`, `{id: a, action: allow, process: {unit: %s}}`, `{id: a, action: allow, process: {package: %s}}`,
	`{id: a, action: allow, process: {container: %s}}`, `{id: a, action: allow, to: {host: %s}}`, `{id: a, action: allow, process: any, reason: %s}`,
}

// TestEveryTextSurvives holds that a text which the reader takes is written so
// that it reads back as the same, by Marshal and by Format.
func TestEveryTextSurvives(t *testing.T) {
	taken := 0
	rapid.Check(t, func(t *rapid.T) {
		var text string
		for _, piece := range rapid.SliceOfN(rapid.SampledFrom(hostile), 1, 5).Draw(t, "pieces") {
			text += piece
		}
		for _, prefix := range []string{"", "/"} {
			quoted, err := json.Marshal(prefix + text) // is YAML too
			if err != nil {
				t.Fatal(err)
			}
			for _, place := range keysOfTexts {
				src := []byte("version: 1\nrules:\n  - " + fmt.Sprintf(place, quoted) + "\n")
				read, err := rule.Parse("x.yaml", src)
				if err != nil {
					continue // refused, which is another test's
				}
				taken++
				written, err := rule.Marshal(read.Set, rule.Comments{})
				if err != nil {
					t.Fatalf("write %s: %v", src, err)
				}
				formatted, err := rule.Format("x.yaml", src)
				if err != nil && strings.Contains(text, "#") {
					formatted = src // taken for a comment: refused, and not changed
				} else if err != nil {
					t.Fatalf("format %s: %v", src, err)
				}
				for _, out := range [][]byte{written, formatted} {
					again, err := rule.Parse("x.yaml", out)
					if err != nil {
						t.Fatalf("%v\nof\n%s\nwritten as\n%s", err, src, out)
					}
					if diff := cmp.Diff(read.Set, again.Set, sameRules); diff != "" {
						t.Fatalf("another text came back (-read +written):\n%s\nof\n%s\nwritten as\n%s", diff, src, out)
					}
				}
			}
		}
	})
	if taken == 0 {
		t.Error("no text was taken")
	}
}
