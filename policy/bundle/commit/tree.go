package commit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"

	"snitch/policy/bundle"
)

// Modes of the entries of a tree, as git writes them.
const (
	modeTree       = "40000"
	modeFile       = "100644"
	modeExecutable = "100755"
	modeLink       = "120000"
	modeSubmodule  = "160000"
)

const maxDepth = 16

type entry struct {
	mode, name, id string
}

// entries reads a tree: "mode name\0" and the bytes of an id, again and again.
func (o *Objects) entries(id string) ([]entry, error) {
	data, err := o.get(id, kindTree)
	if err != nil {
		return nil, err
	}
	var out []entry
	for len(data) > 0 {
		head, rest, found := bytes.Cut(data, []byte{0})
		mode, name, named := strings.Cut(string(head), " ")
		if !found || !named || len(rest) < o.size/2 {
			return nil, fmt.Errorf("tree %.12s is cut off", id)
		}
		if err := validName(name); err != nil {
			return nil, fmt.Errorf("tree %.12s: %w", id, err)
		}
		out = append(out, entry{mode, name, hex.EncodeToString(rest[:o.size/2])})
		data = rest[o.size/2:]
	}
	return out, nil
}

// validName refuses names that are none, or lead elsewhere.
func validName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%.100q is no name of a file", name)
	}
	return nil
}

// descend finds the tree of a directory.
func (o *Objects) descend(tree, dir string) (string, error) {
	if dir == "" || dir == "." {
		return tree, nil
	}
	for _, part := range strings.Split(dir, "/") {
		entries, err := o.entries(tree)
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(entries, func(e entry) bool { return e.name == part && e.mode == modeTree })
		if i < 0 {
			return "", fmt.Errorf("it has no directory %q", dir)
		}
		tree = entries[i].id
	}
	return tree, nil
}

// walk gathers the files below a tree.
type walk struct {
	objects *Objects
	out     *bundle.Snapshot
	release []byte
	total   int
}

func (w *walk) tree(id, dir string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: deeper than %d directories", dir, maxDepth)
	}
	entries, err := w.objects.entries(id)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.name)
		switch {
		case name == releaseName && (e.mode == modeFile || e.mode == modeExecutable):
			if w.release, err = w.objects.get(e.id, kindBlob); err != nil {
				return err
			}
		case bundle.Ignored(e.name):
		case e.mode == modeTree:
			if err := w.tree(e.id, name, depth+1); err != nil {
				return err
			}
		case e.mode == modeFile || e.mode == modeExecutable:
			if err := w.file(e.id, name); err != nil {
				return err
			}
		case e.mode == modeLink:
			return fmt.Errorf("%s is a symbolic link: rules are files", name)
		case e.mode == modeSubmodule:
			return fmt.Errorf("%s is a submodule: rules are files", name)
		default:
			return fmt.Errorf("%s: mode %.20q is not used", name, e.mode)
		}
	}
	return nil
}

func (w *walk) file(id, name string) error {
	data, err := w.objects.get(id, kindBlob)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if w.total += len(data); w.total > MaxBytes || len(w.out.Files) == bundle.MaxFiles || !fs.ValidPath(name) {
		return fmt.Errorf("%s: more than %d files or %d bytes, or no path within", name, bundle.MaxFiles, MaxBytes)
	}
	w.out.Files = append(w.out.Files, bundle.File{Path: name, Data: data})
	return nil
}

// sort puts files in the order of a snapshot.
func (w *walk) sort() {
	slices.SortFunc(w.out.Files, func(a, b bundle.File) int { return strings.Compare(a.Path, b.Path) })
}
