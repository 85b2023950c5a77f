package rule

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the goldens anew")

// TestErrors holds the text of every complaint: it is what people see of the
// reader. In testdata/errors each archive has files and, behind each, what is
// said of it (NAME.want).
func TestErrors(t *testing.T) {
	archives, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { testErrors(t, name) })
	}
}

func testErrors(t *testing.T, name string) {
	ar, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	out := &txtar.Archive{Comment: ar.Comment}
	want := map[string]string{}
	for _, f := range ar.Files {
		want[f.Name] = string(f.Data)
	}
	for _, f := range ar.Files {
		if strings.HasSuffix(f.Name, ".want") {
			continue
		}
		got := complaints(f.Name, expand(f.Data))
		out.Files = append(out.Files, f, txtar.File{Name: f.Name + ".want", Data: []byte(got)})
		if diff := cmp.Diff(want[f.Name+".want"], got); diff != "" && !*update {
			t.Errorf("%s: complaints (-want +got):\n%s", f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(name, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// expand makes the bytes that an archive cannot hold: \t, \xNN.
func expand(src []byte) []byte {
	return []byte(strings.NewReplacer(`\t`, "\t", `\r`, "\r", `\xff`, "\xff", `\x1b`, "\x1b", `\BOM`, "\xef\xbb\xbf", `\UTF16`, "\xff\xfe").Replace(string(src)))
}

// complaints is what a load says of one file: errors, then warnings.
func complaints(name string, src []byte) string {
	fsys := fstest.MapFS{name: {Data: src}}
	names := []string{name}
	if list, isList := strings.CutSuffix(name, ".txt"); isList {
		decl := list + ".yaml"
		fsys[decl] = &fstest.MapFile{Data: []byte("version: 1\nlists: {l: {file: " + name + "}}\n")}
		names = []string{decl}
	}
	l, err := LoadFiles(fsys, names, Options{})
	var b strings.Builder
	if err != nil {
		fmt.Fprintln(&b, err)
		var all *Errors
		if !errors.As(err, &all) {
			fmt.Fprintln(&b, "(not Errors)")
		}
		return b.String()
	}
	for _, w := range l.Warnings {
		fmt.Fprintln(&b, "warning:", w)
	}
	return b.String()
}

// TestErrorsAreBounded holds that a thousand mistakes are told as two hundred
// and a number.
func TestErrorsAreBounded(t *testing.T) {
	src := "version: 1\nrules:\n" + strings.Repeat("  - {id: A, action: x}\n", 3000)
	_, err := Parse("a.yaml", []byte(src))
	var all *Errors
	if !errors.As(err, &all) {
		t.Fatalf("got %v, want Errors", err)
	}
	if len(all.List) != maxErrors || len(all.List)+all.More != 9000 {
		t.Errorf("got %d errors and %d more, want %d and 9000 in all", len(all.List), all.More, maxErrors)
	}
	if !strings.HasSuffix(err.Error(), fmt.Sprintf("\nand %d more", all.More)) {
		t.Errorf("the text does not end with how many are left out: %q", err.Error()[len(err.Error())-40:])
	}
	for i := 1; i < len(all.List); i++ {
		if all.List[i].Pos.Line < all.List[i-1].Pos.Line {
			t.Fatalf("error %d is not sorted", i)
		}
	}
}
