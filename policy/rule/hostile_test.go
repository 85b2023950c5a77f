package rule

import (
	"strings"
	"testing"
	"time"
)

// TestHostileFiles holds that no file takes the reader
// long: neither nesting, nor one long line, nor a million mistakes.
func TestHostileFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("short: reads files of 1 MiB")
	}
	fill := func(head, repeated string) string {
		return head + strings.Repeat(repeated, (maxFile/4-len(head))/len(repeated))
	}
	for name, src := range map[string]string{
		"unknown keys":    fill("version: 1\n", "aaaa: b\n"),
		"different keys":  fill("version: 1\nrules: ", "- {zzz: ä, \"ä\": b, exee: {}}\n       "),
		"one line":        fill("version: 1\nrules: [", "{id: ä, id: ä}, "),
		"flow nesting":    fill("version: 1\nrules: ", "["),
		"block nesting":   fill("version: 1\nrules:\n ", "- "),
		"keys in keys":    fill("", "? "),
		"nested mappings": fill("version: 1\nrules: [{process: ", "{parent: "),
		"comments":        fill("version: 2\n", "# x\n"),
		"broken":          fill("version: 1\nrules:\n", "- &a [*a, *a]\n"),
		"quote":           fill("version: 1\nrules: '", "a\n"),
		"hosts":           fill("version: 1\nrules: [{id: a, action: deny, to: {host: [", "ä.example, "),
	} {
		start := time.Now()
		_, err := Parse("a.yaml", []byte(src))
		if err == nil {
			t.Errorf("%s: read without an error", name)
		} else {
			checkErrors(t, err)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: took %v", name, took)
		}
	}
}
