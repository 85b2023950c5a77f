package rule

import (
	"bytes"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// addArchives makes every file of the goldens a seed.
func addArchives(f *testing.F, pattern string) {
	names, _ := filepath.Glob(pattern)
	for _, name := range names {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			f.Add(expand(file.Data))
		}
	}
}

// FuzzParse holds that a file is read, or refused with positions, and that
// what was read is written as something that says the same.
func FuzzParse(f *testing.F) {
	addArchives(f, "testdata/*/*.txtar")
	f.Fuzz(func(t *testing.T, src []byte) {
		l, err := Parse("a.yaml", src)
		if err != nil {
			checkErrors(t, err)
			return
		}
		out, err := Marshal(l.Set, Comments{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("a.yaml", out)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, out)
		}
		if again.Set.Revision != l.Set.Revision {
			t.Fatalf("what was written says something else:\n%s", out)
		}
	})
}

// FuzzTests is FuzzParse for files of tests, and so for the ends in one text.
func FuzzTests(f *testing.F) {
	addArchives(f, "testdata/errors/cases.txtar")
	f.Fuzz(func(t *testing.T, src []byte) {
		if _, err := Parse("a_test.yaml", src); err != nil {
			checkErrors(t, err)
		}
	})
}

// FuzzEnd holds that an end which is read says a protocol and a name or address.
func FuzzEnd(f *testing.F) {
	for _, s := range []string{"tcp://api.github.com[140.82.112.5]:443", "udp://[::1]:53", "icmp://1.1.1.1", "tcp://a.example", "tcp://[", "tcp://a]b[c:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parseEnd(s)
		if err == nil && (e.proto == "" || !e.Addr.IsValid() && len(e.Names) == 0) {
			t.Errorf("%q is read as %+v", s, e)
		}
	})
}

// FuzzList holds that a list is read or refused, and that it holds each plain
// name that stands on a line of its own.
func FuzzList(f *testing.F) {
	addArchives(f, "testdata/errors/lists.txtar")
	f.Add([]byte("a/\x1b[31m:8\x1b0\xff\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		var c collector
		l := readList(&c, "l", "l.txt", src)
		if c.err() != nil {
			checkErrors(t, c.err())
			return
		}
		for line := range bytes.Lines(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))) {
			if name := bytes.TrimSpace(line); checkName(name) == nil && !l.MatchName(string(name)) {
				t.Errorf("%q is not on the list", name)
			}
		}
		for h := range l.Names() {
			if again, err := ParseHost(h.String()); err != nil || again != h {
				t.Errorf("%v reads back as %v, %v", h, again, err)
			}
		}
	})
}

// FuzzFormat holds that formatting twice is formatting once. That it changes
// nothing of what a file says is checked by Format itself: here that refusal
// must not be needed.
func FuzzFormat(f *testing.F) {
	addArchives(f, "testdata/*/*.txtar")
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := Format("a.yaml", src)
		if err != nil {
			checkErrors(t, err)
			return
		}
		again, err := Format("a.yaml", out)
		if err != nil || !bytes.Equal(out, again) {
			t.Errorf("formatted twice: %v\n%q\n%q", err, out, again)
		}
	})
}

// checkErrors holds that errors are of the file and say where.
func checkErrors(t *testing.T, err error) {
	t.Helper()
	var all *Errors
	if !errors.As(err, &all) || len(all.List) == 0 {
		t.Fatalf("not Errors: %v", err)
	}
	for _, e := range all.List {
		if e.Pos.File == "" || e.Pos.Line < 1 || e.Pos.Col < 1 || e.Msg == "" || strings.ContainsFunc(e.Msg, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("error %+v", e)
		}
	}
}
