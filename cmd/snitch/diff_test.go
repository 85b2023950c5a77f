package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestUnifiedApplies: patch(1), which knows the format, makes of before what
// unified was told.
func TestUnifiedApplies(t *testing.T) {
	tool, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("missing feature: patch(1)")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	rapid.Check(t, func(rt *rapid.T) {
		var before, now strings.Builder
		for range rapid.IntRange(1, 30).Draw(rt, "lines") {
			line := rapid.SampledFrom([]string{"a\n", "b\n", "mode: audit\n"}).Draw(rt, "line")
			before.WriteString(line)
			switch rapid.IntRange(0, 6).Draw(rt, "edit") {
			case 0: // gone
			case 1:
				now.WriteString("mode: enforce\n")
			default:
				now.WriteString(line)
			}
		}
		e := edit{path: "a.yaml", before: []byte(before.String()), now: []byte(now.String())}
		diff := unified(e)
		if err := os.WriteFile(file, e.before, 0o600); err != nil {
			rt.Fatal(err)
		}
		if string(e.before) == string(e.now) {
			if strings.Contains(diff, "@@") {
				rt.Fatalf("hunks of no change:\n%s", diff)
			}
			return
		}
		cmd := exec.Command(tool, "--quiet", "--fuzz=0", file)
		cmd.Stdin = strings.NewReader(diff)
		out, err := cmd.CombinedOutput()
		got, readErr := os.ReadFile(file)
		if len(e.now) == 0 && os.IsNotExist(readErr) {
			return // patch removes a file that becomes empty
		}
		if err != nil || readErr != nil || string(got) != string(e.now) {
			rt.Fatalf("%v %v %s\n%s\ngot %q\nwant %q", err, readErr, out, diff, got, e.now)
		}
	})
}
