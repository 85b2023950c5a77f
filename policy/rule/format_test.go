package rule

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestFormat holds the canonical form, and that formatting twice is formatting
// once.
func TestFormat(t *testing.T) {
	const name = "testdata/format/format.txtar"
	ar, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range ar.Files {
		want[f.Name] = string(f.Data)
	}
	out := &txtar.Archive{Comment: ar.Comment}
	for _, f := range ar.Files {
		if strings.HasSuffix(f.Name, ".want") {
			continue
		}
		got, err := Format(f.Name, f.Data)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
		out.Files = append(out.Files, f, txtar.File{Name: f.Name + ".want", Data: got})
		if diff := cmp.Diff(want[f.Name+".want"], string(got)); diff != "" && !*update {
			t.Errorf("%s: (-want +got):\n%s", f.Name, diff)
		}
		again, err := Format(f.Name, got)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s: formatted again it changes (-once +twice): %v\n%s", f.Name, err, cmp.Diff(string(got), string(again)))
		}
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
