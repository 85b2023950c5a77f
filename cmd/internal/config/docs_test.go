package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocumentedDefaults: the example in docs/configuration.md loads and is,
// but for the cgroup that it says is none, the default; and it names all.
func TestDocumentedDefaults(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("no example")
	}
	got, err := Parse("configuration.md", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	got.Cgroup = ""
	if got != Default() {
		t.Errorf("documented %+v\ndefault    %+v", got, Default())
	}
	for _, s := range settings {
		if _, last, _ := strings.Cut("."+s.path, "."); !strings.Contains(example, last[strings.LastIndex(last, ".")+1:]+":") {
			t.Errorf("%s is not documented", s.path)
		}
	}
}
