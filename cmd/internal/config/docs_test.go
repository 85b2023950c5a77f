package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

// TestDocs: docs/configuration.md is what the list of settings says.
func TestDocs(t *testing.T) {
	file := filepath.Join("..", "..", "..", "docs", "configuration.md")
	want := Markdown()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/configuration.md is not what the settings say (go test ./cmd/internal/config -run TestDocs -update): -want +got\n%s", diff)
	}
}

// TestDocumentedDefaults: the file that is printed is read as the defaults, and
// has a line for each setting.
func TestDocumentedDefaults(t *testing.T) {
	d := Default()
	example := d.YAML()
	got, err := Parse("default.yaml", []byte(example))
	if err != nil {
		t.Fatalf("%v\n%s", err, example)
	}
	if diff := cmp.Diff(d, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, s := range settings {
		if key := s.path[strings.LastIndexByte(s.path, '.')+1:]; !strings.Contains(example, key+": ") {
			t.Errorf("%s is not in the file", s.path)
		}
		if s.help == "" || s.want == "" || s.get(&d) == "" && s.example == "" {
			t.Errorf("%s is not documented: %+v", s.path, s)
		}
	}
}
