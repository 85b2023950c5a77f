package rule

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"snitch/monitor/event"
)

// Bounds of what is read.
const (
	maxDepth    = 8         // directories below the one of rules
	maxFiles    = 2000      // files of rules, tests and Rego
	maxEntries  = 20000     // names in all the directories
	maxFile     = 4 << 20   // bytes of a file of rules, tests or Rego; 10,000 rules are about 2.5 MiB
	maxListFile = 512 << 20 // bytes of a list, about 25 million names
	maxTotal    = 1 << 30   // bytes of everything
)

// Options change how a set is loaded.
type Options struct {
	Revision string // what the source calls the content; "": a digest of it
}

// FileKind is what a file was read as.
type FileKind uint8

// Kinds of files.
const (
	FileInvalid FileKind = 0
	RuleFile    FileKind = 1
	TestsFile   FileKind = 2
	RegoFile    FileKind = 3
	ListFile    FileKind = 4
)

// File is one file that was read.
type File struct {
	Name   string // relative to the directory of rules, with slashes
	Kind   FileKind
	Size   int64
	SHA256 event.Digest
	Source []byte // nil for a list
}

// Loaded is everything that one load found.
type Loaded struct {
	Set      *Set
	Tests    []TestFile // sorted by file
	Files    []File     // in the order of reading: rules, tests and Rego by name, then lists
	Warnings []Error    // what is doubtful but not wrong; sorted
}

// LoadDir loads the directory dir. Links that lead out of it are not followed.
func LoadDir(dir string, opts Options) (*Loaded, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory of rules: %w", err)
	}
	defer root.Close()
	return Load(root.FS(), opts)
}

// Load reads every *.yaml, *.yml and *.rego below fsys and the lists that they
// name. Hidden files and what editors leave behind are not read. What is wrong
// with the files comes as *Errors, all of it at once; any other error is of
// reading.
func Load(fsys fs.FS, opts Options) (*Loaded, error) {
	names, err := findFiles(fsys)
	if err != nil {
		return nil, fmt.Errorf("read directory of rules: %w", err)
	}
	return LoadFiles(fsys, names, opts)
}

// LoadFiles reads these files alone, and the lists that they name.
func LoadFiles(fsys fs.FS, names []string, opts Options) (*Loaded, error) {
	l := loader{fsys: fsys, c: &collector{}, out: &Loaded{}, ids: map[string]Position{}, lists: map[string]*List{}}
	for _, name := range names {
		if err := l.file(name); err != nil {
			return nil, err
		}
	}
	if err := l.loadLists(); err != nil {
		return nil, err
	}
	return l.finish(opts)
}

// Parse reads one file of rules or tests that is already in memory; its name
// says which. It may not name files of lists.
func Parse(name string, src []byte) (*Loaded, error) {
	return LoadFiles(oneFile{name, src}, []string{name}, Options{})
}

// findFiles lists the files to read, sorted.
func findFiles(fsys fs.FS) ([]string, error) {
	var out []string
	entries := 0
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entries++; entries > maxEntries {
			return fmt.Errorf("more than %d files: is this a directory of rules?", maxEntries)
		}
		base := path.Base(name)
		switch {
		case name == ".":
			return nil
		case leftover(base) && d.IsDir():
			return fs.SkipDir
		case leftover(base):
			return nil
		case d.IsDir() && strings.Count(name, "/") >= maxDepth:
			return fmt.Errorf("%s: directories are deeper than %d", name, maxDepth)
		case d.IsDir() || !ruleFileName(base) && path.Ext(base) != ".rego":
			return nil
		}
		if out = append(out, name); len(out) > maxFiles {
			return fmt.Errorf("more than %d files of rules", maxFiles)
		}
		return nil
	})
	return out, err
}

// leftover reports names that nobody means as rules: hidden files (among them
// the locks and swap files of editors) and copies that editors keep.
func leftover(base string) bool {
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "#") || strings.HasSuffix(base, "~") ||
		strings.HasSuffix(base, ".swp") || strings.HasSuffix(base, ".bak") || strings.HasSuffix(base, ".orig")
}

func ruleFileName(name string) bool { return path.Ext(name) == ".yaml" || path.Ext(name) == ".yml" }

func testFileName(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(name, ".yaml"), ".yml"), "_test")
}

// loader is one load.
type loader struct {
	fsys    fs.FS
	c       *collector
	out     *Loaded
	total   int64
	rules   []Rule
	confine []Confine
	modules []Module
	decls   []listDecl
	refs    []listRef
	ids     map[string]Position
	lists   map[string]*List
}

// file reads one file by its name.
func (l *loader) file(name string) error {
	src, err := l.read(name, maxFile)
	if err != nil {
		return err
	}
	f := File{Name: name, Size: int64(len(src)), SHA256: sha256.Sum256(src), Source: src}
	switch {
	case path.Ext(name) == ".rego":
		f.Kind = RegoFile
		l.modules = append(l.modules, Module{File: name, Source: src, Test: strings.HasSuffix(name, "_test.rego")})
	case !ruleFileName(name):
		return fmt.Errorf("%s: want a file that ends in .yaml, .yml or .rego", name)
	case testFileName(name):
		f.Kind = TestsFile
		r := &reader{collector: l.c, file: name}
		l.out.Tests = append(l.out.Tests, r.tests(src))
	default:
		f.Kind = RuleFile
		l.ruleFile(name, src)
	}
	l.out.Files = append(l.out.Files, f)
	return nil
}

func (l *loader) ruleFile(name string, src []byte) {
	r := &reader{collector: l.c, file: name}
	n := r.document(src)
	if n == nil || !r.checkVersion(n) {
		return
	}
	var f ruleFile
	language().file.read(r, n, &f)
	for _, d := range f.lists {
		if d.file != "" {
			d.file = path.Join(path.Dir(name), d.file)
		}
		l.decls = append(l.decls, d)
	}
	for i := range f.confine {
		l.unique(f.confine[i].ID, f.confine[i].Pos)
	}
	for i := range f.rules {
		l.unique(f.rules[i].ID, f.rules[i].At("id"))
	}
	l.rules, l.confine, l.refs = append(l.rules, f.rules...), append(l.confine, f.confine...), append(l.refs, r.refs...)
}

func (l *loader) unique(id string, pos Position) {
	if id == "" {
		return
	}
	if first, ok := l.ids[id]; ok {
		l.c.error(pos, "the id %q is taken: the rule or confine entry at %s has it", id, first)
		return
	}
	l.ids[id] = pos
}

// read reads a regular file up to a bound.
func (l *loader) read(name string, most int64) ([]byte, error) {
	info, err := fs.Stat(l.fsys, name)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read rules: %s is not a regular file", name)
	}
	f, err := l.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if l.total += int64(len(src)); int64(len(src)) > most || l.total > maxTotal {
		return nil, fmt.Errorf("read rules: %s is too large: at most %d bytes, and %d in all files", name, most, int64(maxTotal))
	}
	return src, nil
}

// loadLists makes the lists and checks that each @list is one.
func (l *loader) loadLists() error {
	for _, d := range l.decls {
		if first, ok := l.lists[d.name]; ok {
			l.c.error(d.pos, "the list %q is declared again, first at %s", d.name, first.Pos)
			continue
		}
		list := NewList(d.name, d.items)
		if d.file != "" {
			var err error
			if list, err = l.listFile(d); err != nil {
				return err
			}
		}
		list.Pos, list.File = d.pos, d.file
		l.lists[d.name] = list
	}
	var known []string
	for name := range l.lists {
		known = append(known, name)
	}
	for _, ref := range l.refs {
		if l.lists[ref.name] == nil {
			hint := didYouMean(ref.name, known)
			if hint == "" {
				hint = "declare it under lists"
			}
			l.c.error(ref.pos, "there is no list %q: %s", ref.name, hint)
		}
	}
	return nil
}

func (l *loader) listFile(d listDecl) (*List, error) {
	src, err := l.read(d.file, maxListFile)
	if errors.Is(err, fs.ErrNotExist) {
		l.c.error(d.pos, "the list %q has no file %s", d.name, d.file)
		return NewList(d.name, nil), nil
	}
	if err != nil {
		return nil, err
	}
	l.out.Files = append(l.out.Files, File{Name: d.file, Kind: ListFile, Size: int64(len(src)), SHA256: sha256.Sum256(src)})
	return readList(l.c, d.name, d.file, src), nil
}

// finish makes the set of what was read.
func (l *loader) finish(opts Options) (*Loaded, error) {
	if err := l.c.err(); err != nil {
		return nil, err
	}
	sortErrors(l.c.warnings)
	l.out.Warnings = l.c.warnings
	lists := make([]*List, 0, len(l.lists))
	for _, list := range l.lists {
		lists = append(lists, list)
	}
	l.out.Set = NewSet(l.rules, l.confine, lists, l.modules)
	if opts.Revision != "" {
		l.out.Set.Revision = opts.Revision
	}
	return l.out, nil
}
