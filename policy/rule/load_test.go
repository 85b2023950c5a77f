package rule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const denyAll = "version: 1\nrules:\n  - {id: %s, action: deny, process: any}\n"

func ruleNamed(id string) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, denyAll, id)}
}

// TestLoadReadsTheRightFiles holds which names are rules, tests and Rego, and
// that nothing an editor leaves behind becomes a rule.
func TestLoadReadsTheRightFiles(t *testing.T) {
	broken := &fstest.MapFile{Data: []byte("broken: [")}
	fsys := fstest.MapFS{
		"b.yaml": ruleNamed("b"), "a.yml": ruleNamed("a"), "sub/deep/c.yaml": ruleNamed("c"),
		"b_test.yaml":  {Data: []byte("version: 1\ncases:\n  - {name: x, when: {to: \"tcp://1.1.1.1:1\"}, expect: {action: deny}}\n")},
		"custom.rego":  {Data: []byte("package snitch.custom.x")},
		"x_test.rego":  {Data: []byte("package snitch.custom.x_test")},
		"lists/l.yaml": {Data: []byte("version: 1\nlists: {l: {file: more/l.txt}}\n")}, "lists/more/l.txt": {Data: []byte("a.example\n")},
		".#b.yaml": broken, "b.yaml~": broken, ".b.yaml.swp": broken, "#b.yaml#": broken, ".git/x.yaml": broken, "b.yaml.orig": broken,
		"..data/x.yaml": broken, "README.md": broken, "x.json": broken,
	}
	l, err := Load(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ids, files []string
	for _, r := range l.Set.Rules {
		ids = append(ids, r.ID+" "+r.Pos.String())
	}
	for _, f := range l.Files {
		files = append(files, fmt.Sprint(f.Name, " ", f.Kind, " ", f.Source != nil))
	}
	if want := []string{"a a.yml:3:5", "b b.yaml:3:5", "c sub/deep/c.yaml:3:5"}; !slices.Equal(ids, want) {
		t.Errorf("rules %q, want %q", ids, want)
	}
	want := []string{"a.yml 1 true", "b.yaml 1 true", "b_test.yaml 2 true", "custom.rego 3 true", "lists/l.yaml 1 true",
		"sub/deep/c.yaml 1 true", "x_test.rego 3 true", "lists/more/l.txt 4 false"}
	if !slices.Equal(files, want) {
		t.Errorf("files %q\nwant  %q", files, want)
	}
	if len(l.Tests) != 1 || len(l.Tests[0].Cases) != 1 || len(l.Set.Modules) != 2 || !l.Set.Modules[1].Test || l.Set.Modules[0].Test {
		t.Errorf("tests %+v, modules %+v", l.Tests, l.Set.Modules)
	}
	if got := l.Set.Lists["l"]; got == nil || got.File != "lists/more/l.txt" || !got.MatchName("a.example") {
		t.Errorf("list %+v", got)
	}
}

// TestLoadDirStaysInside holds that no link leads out of the directory, and
// that links inside it do (as in a mounted ConfigMap).
func TestLoadDirStaysInside(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "x.yaml"), fmt.Sprintf(denyAll, "x"))
	if err := os.Mkdir(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(dir, "..data", "a.yaml"), fmt.Sprintf(denyAll, "a"))
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..data/a.yaml", "a.yaml")
	link(outside, "sub.yaml.d")
	l, err := LoadDir(dir, Options{Revision: "r1"})
	if err != nil || len(l.Set.Rules) != 1 || l.Set.Revision != "r1" {
		t.Fatalf("got %+v, %v: want rule a through the link inside", l, err)
	}
	link(filepath.Join(outside, "x.yaml"), "x.yaml")
	if l, err := LoadDir(dir, Options{}); err == nil {
		t.Errorf("followed a link out of the directory: %+v", l.Set.Rules)
	}
}

// TestLoadBounds holds that a directory which is none of rules ends the load.
func TestLoadBounds(t *testing.T) {
	deep := strings.Repeat("d/", maxDepth+1) + "a.yaml"
	many := fstest.MapFS{}
	for i := range maxFiles + 1 {
		many[fmt.Sprintf("%d.yaml", i)] = ruleNamed("a")
	}
	for name, c := range map[string]struct {
		fsys fstest.MapFS
		want string
	}{
		"deep":    {fstest.MapFS{deep: ruleNamed("a")}, "deeper than"},
		"many":    {many, "more than 2000 files"},
		"large":   {fstest.MapFS{"a.yaml": {Data: make([]byte, maxFile+1)}}, "too large"},
		"no file": {fstest.MapFS{"a.yaml": {Mode: fs.ModeNamedPipe}}, "not a regular file"},
	} {
		_, err := Load(c.fsys, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := LoadDir(filepath.Join(t.TempDir(), "gone"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: got %v", err)
	}
}

// TestRevision holds what changes the revision and what does not.
func TestRevision(t *testing.T) {
	revision := func(files map[string]string) string {
		t.Helper()
		fsys := fstest.MapFS{}
		for name, text := range files {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		l, err := Load(fsys, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return l.Set.Revision
	}
	base := "version: 1\nlists: {l: [a.example, b.example]}\nrules:\n  - {id: a, action: deny, to: {host: [x.example, \"@l\"], port: 443}}\n  - {id: b, action: alert, process: any}\n"
	one := revision(map[string]string{"a.yaml": base})
	if !strings.HasPrefix(one, "sha256:") || len(one) != len("sha256:")+16 {
		t.Errorf("revision %q", one)
	}
	same := map[string]map[string]string{
		"comments":     {"a.yaml": "# hello\n" + base},
		"other file":   {"z/b.yml": base},
		"tests beside": {"a.yaml": base, "a_test.yaml": "version: 1\ncases:\n  - {name: x, when: {to: \"tcp://1.1.1.1:1\"}, expect: {action: deny}}\n"},
		"two files": {
			"a.yaml": "version: 1\nrules:\n  - {id: b, process: any, action: alert}\n",
			"b.yaml": "version: 1\nlists: {l: [B.example., a.example]}\nrules:\n  - {action: deny, id: a, to: {port: [443], host: [\"@l\", X.example]}, direction: out, mode: enforce}\n"},
	}
	for name, files := range same {
		if got := revision(files); got != one {
			t.Errorf("%s: %s, want %s: nothing that matters changed", name, got, one)
		}
	}
	for name, text := range map[string]string{
		"action": strings.Replace(base, "alert", "allow", 1), "id": strings.Replace(base, "id: b", "id: c", 1),
		"list": strings.Replace(base, "b.example", "c.example", 1), "port": strings.Replace(base, "443", "444", 1),
		"reason": strings.Replace(base, "id: b", "id: b, reason: x", 1), "mode": strings.Replace(base, "id: b", "id: b, mode: audit", 1),
	} {
		if revision(map[string]string{"a.yaml": text}) == one {
			t.Errorf("%s: changed without a new revision", name)
		}
	}
	if revision(map[string]string{"a.yaml": base, "x.rego": "package snitch.custom.x"}) == one {
		t.Error("a module: added without a new revision")
	}
}
