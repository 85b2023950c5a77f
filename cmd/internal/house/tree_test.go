package house

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// topLevel is all that may stand beside dot files at the top.
var topLevel = []string{"LICENSE", "Makefile", "README.md", "bpf", "build", "cmd", "docs", "enforce",
	"go.mod", "go.sum", "monitor", "packaging", "policy", "rules", "tools"}

// TestTopLevel keeps the house easy to see from the door.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(moduleRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top level", e.Name())
		}
	}
}

// TestMakefileSpeaks wants a line of help for every target that people type.
func TestMakefileSpeaks(t *testing.T) {
	text := strings.Join(readLines(t, filepath.Join(moduleRoot(t), "Makefile")), "\n")
	for _, target := range []string{"build", "generate", "fmt", "lint", "run", "test", "test-short", "test-kernel", "e2e", "bench", "package", "clean", "help"} {
		if !regexp.MustCompile(`(?m)^` + target + `:.*## \S`).MatchString(text) {
			t.Errorf("Makefile: target %s has no ## line", target)
		}
	}
}

// TestPackagesSpeak wants one package comment for every package.
func TestPackagesSpeak(t *testing.T) {
	root := moduleRoot(t)
	comment := map[string]int{}
	walkGo(t, root, func(file string) {
		dir := filepath.Dir(file)
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		comment[dir] += 0
		lines := readLines(t, filepath.Join(root, file))
		for i, line := range lines {
			if !strings.HasPrefix(line, "package ") {
				continue
			}
			if i > 0 && (strings.HasPrefix(lines[i-1], "//") || strings.HasSuffix(lines[i-1], "*/")) && !strings.HasPrefix(lines[i-1], "//go:build") {
				comment[dir]++
			}
			break
		}
	})
	for dir, n := range comment {
		if n != 1 {
			t.Errorf("%s: %d package comments, want 1", dir, n)
		}
	}
}

// moduleRoot is the directory of go.mod. It opens the file itself, so that the
// test cache notices a change of the tree.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if text, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(text), "module snitch\n") {
			return dir
		}
	}
	t.Fatal("no go.mod of module snitch above the working directory")
	return ""
}

func readLines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}
