package rule

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Format writes a file of rules or tests (its name says which) in the canonical
// form: keys in the order of docs/rules.md, quotes only where they are needed,
// one line where it fits. Comments stay, and so does what the file says: Format
// reads its own answer and refuses rather than change either. A file with
// errors is refused with *Errors.
func Format(name string, src []byte) ([]byte, error) {
	src = bytes.ReplaceAll(bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")), []byte("\r\n"), []byte("\n"))
	want, err := meaning(name, src)
	if err != nil {
		return nil, err
	}
	// A comment may move once to where it is stable.
	out := src
	for range 4 {
		before := out
		if out, err = formatOnce(name, before); err != nil {
			return nil, err
		}
		if bytes.Equal(out, before) {
			break
		}
	}
	if pos, text := lostComment(name, src, out); text != "" {
		return nil, &Errors{List: []Error{{pos, fmt.Sprintf("%q cannot stay where it is: put the comment on a line of its own above a key", clip(text))}}}
	}
	got, err := meaning(name, out)
	if err != nil || got != want {
		return nil, &Errors{List: []Error{{Position{name, 1, 1}, "the file cannot be formatted without changing what it says"}}}
	}
	return out, nil
}

// meaning digests what one file says, the order of its items included.
func meaning(name string, src []byte) (sum [sha256.Size]byte, err error) {
	r := &reader{collector: &collector{}, file: name}
	n := r.document(src)
	if n == nil || !r.checkVersion(n) {
		return sum, r.err()
	}
	var write func() *yaml.Node
	if testFileName(name) {
		var f testYAML
		language().tests.file.read(r, n, &f)
		write = func() *yaml.Node { return language().tests.file.write(&f) }
	} else {
		var f ruleFile
		language().file.read(r, n, &f)
		write = func() *yaml.Node { return language().file.write(&f) }
	}
	if err := r.err(); err != nil {
		return sum, err
	}
	h := sha256.New()
	hashNode(h, write())
	return [sha256.Size]byte(h.Sum(nil)), nil
}

func formatOnce(name string, src []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, fmt.Errorf("%s: read YAML: %w", name, err)
	}
	root := doc.Content[0]
	o := &language().file.outline
	if testFileName(name) {
		o = &language().tests.file.outline
	}
	sortKeys(root, o)
	return encode(&doc)
}

// sortKeys orders the keys of a mapping, and of those inside it, as an outline
// does.
func sortKeys(n *yaml.Node, o *outline) {
	if o == nil {
		return
	}
	if n.Kind == yaml.SequenceNode {
		for _, c := range n.Content {
			sortKeys(c, o)
		}
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	// A comment at the end of the mapping stays there, whichever key is last.
	last := n.Content[len(n.Content)-2]
	foot := last.FootComment
	last.FootComment = ""
	pairs := slices.Collect(slices.Chunk(n.Content, 2))
	slices.SortStableFunc(pairs, func(a, b []*yaml.Node) int {
		return slices.Index(o.keys, a[0].Value) - slices.Index(o.keys, b[0].Value)
	})
	sorted := make([]*yaml.Node, 0, len(n.Content))
	for _, p := range pairs {
		sorted = append(sorted, p...)
		sortKeys(p[1], o.inner[p[0].Value])
	}
	n.Content = sorted
	if end := sorted[len(sorted)-2]; foot != "" {
		end.FootComment = strings.TrimPrefix(end.FootComment+"\n\n"+foot, "\n\n")
	}
}

// lostComment finds the first comment of src that out does not have.
func lostComment(name string, src, out []byte) (Position, string) {
	if bytes.Count(src, []byte("#")) == bytes.Count(out, []byte("#")) {
		return Position{}, ""
	}
	for i, line := range bytes.Split(src, []byte("\n")) {
		at := bytes.IndexByte(line, '#')
		if at < 0 {
			continue
		}
		if text := bytes.TrimSpace(line[at:]); !bytes.Contains(out, text) {
			return Position{name, i + 1, at + 1}, string(text)
		}
	}
	return Position{name, 1, 1}, "a comment"
}
