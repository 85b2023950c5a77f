package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// link is a link of Markdown to a file, with or without a heading in it.
var link = regexp.MustCompile(`\]\(([^)\s:#]*)(#[^)\s]*)?\)`)

// TestLinks follows every link of the documentation: to files that are there,
// and to headings that they have.
func TestLinks(t *testing.T) {
	root, seen := moduleRoot(t), 0
	for _, file := range markdown(t, root) {
		for i, line := range readLines(t, file) {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				seen++
				to := file
				if m[1] != "" {
					to = filepath.Join(filepath.Dir(file), m[1])
				}
				if _, err := os.Stat(to); err != nil || !strings.HasPrefix(to, root) {
					t.Errorf("%s:%d: %s is not there", file, i+1, m[1])
				} else if m[2] != "" && !hasHeading(readLines(t, to), m[2]) {
					t.Errorf("%s:%d: %s has no heading %s", file, i+1, to, m[2])
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d links found", seen)
	}
}

// TestDocsAreFound: every page is linked from the README, or from one that is.
func TestDocsAreFound(t *testing.T) {
	root := moduleRoot(t)
	readme := filepath.Join(root, "README.md")
	reached, todo := map[string]bool{readme: true}, []string{readme}
	for len(todo) > 0 {
		file := todo[0]
		todo = todo[1:]
		for _, m := range link.FindAllStringSubmatch(strings.Join(readLines(t, file), "\n"), -1) {
			to := filepath.Join(filepath.Dir(file), m[1])
			if info, err := os.Stat(to); err == nil && info.IsDir() {
				to = filepath.Join(to, "README.md")
			}
			if filepath.Ext(to) == ".md" && !reached[to] {
				if _, err := os.Stat(to); err == nil { // else TestLinks tells
					reached[to] = true
					todo = append(todo, to)
				}
			}
		}
	}
	for _, file := range markdown(t, filepath.Join(root, "docs")) {
		if !reached[file] {
			t.Errorf("%s is linked from nowhere", file)
		}
	}
}

// markdown are the files of documentation below dir.
func markdown(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "build" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case filepath.Ext(name) == ".md":
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// hasHeading looks for "#anchor" among the headings, of which those of commands
// in a fenced block are none.
func hasHeading(lines []string, anchor string) bool {
	fenced := false
	for _, line := range lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if ok && !fenced && strings.HasPrefix(line, "#") && "#"+anchorOf(title) == anchor {
			return true
		}
	}
	return false
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// anchorOf is how code hosts name a heading.
func anchorOf(title string) string {
	title = notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
	return strings.ReplaceAll(title, " ", "-")
}
