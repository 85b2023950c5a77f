package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"snitch/cmd/internal/text"
)

// maxFile bounds the file: nobody writes a megabyte of settings.
const maxFile = 1 << 20

// Fault is one thing wrong with the file.
type Fault struct {
	Line, Column int // from 1; 0 when it is about the whole file
	Problem      string
}

// FaultsError is everything wrong with the file.
type FaultsError struct {
	File   string
	Faults []Fault
}

// Error is one line a fault: file:line:column: problem.
func (e *FaultsError) Error() string {
	lines := make([]string, 0, len(e.Faults))
	for _, f := range e.Faults {
		at := e.File
		if f.Line > 0 {
			at = fmt.Sprintf("%s:%d:%d", e.File, f.Line, f.Column)
		}
		lines = append(lines, at+": "+f.Problem)
	}
	return strings.Join(lines, "\n")
}

// Parse reads a file's content; file is its name in faults.
func Parse(file string, content []byte) (Config, error) {
	r := reader{config: Default()}
	r.document(content)
	if len(r.faults) > 0 {
		slices.SortStableFunc(r.faults, func(a, b Fault) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return Config{}, &FaultsError{File: file, Faults: r.faults}
	}
	return r.config, nil
}

// reader walks the document and collects faults.
type reader struct {
	config Config
	faults []Fault
}

func (r *reader) fault(n *yaml.Node, format string, args ...any) {
	f := Fault{Problem: fmt.Sprintf(format, args...)}
	if n != nil {
		f.Line, f.Column = n.Line, n.Column
	}
	r.faults = append(r.faults, f)
}

var yamlLine = regexp.MustCompile(`^yaml: line ([0-9]+): (.*)$`)

func (r *reader) document(content []byte) {
	if len(content) > maxFile {
		r.fault(nil, "is larger than %s", text.Bytes(maxFile))
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return // nothing but comments
	}
	if err != nil {
		r.syntax(err)
		return
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		r.fault(&second, "a second document: everything stands in one")
	} else if !errors.Is(err, io.EOF) {
		r.syntax(err)
	}
	if len(doc.Content) != 1 {
		return
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if r.mapping(root, "") {
		r.version(root)
	}
}

func (r *reader) syntax(err error) {
	problem := strings.TrimPrefix(err.Error(), "yaml: ")
	f := Fault{Problem: problem}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		f.Problem = m[2]
		f.Column = 1
		f.Line, _ = strconv.Atoi(m[1]) // digits
	}
	r.faults = append(r.faults, f)
}

// version wants "version: 1" before everything else.
func (r *reader) version(root *yaml.Node) {
	if len(root.Content) == 0 {
		return
	}
	key, value := root.Content[0], root.Content[1]
	if key.Value != "version" {
		r.fault(key, "the first line is \"version: %d\"", Version)
		return
	}
	if value.Value != strconv.Itoa(Version) || value.Kind != yaml.ScalarNode {
		r.fault(value, "version %q is not known: this snitch reads version %d", value.Value, Version)
	}
}

// mapping walks one mapping; prefix is "" or ends with a dot.
func (r *reader) mapping(n *yaml.Node, prefix string) bool {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "want \"key: value\" lines")
		return false
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			r.fault(key, "this key is no plain word")
			continue
		}
		if before := seen[key.Value]; before != nil {
			r.fault(key, "%q stands already in line %d", prefix+key.Value, before.Line)
			continue
		}
		seen[key.Value] = key
		r.entry(key, value, prefix)
	}
	return true
}

func (r *reader) entry(key, value *yaml.Node, prefix string) {
	path := prefix + key.Value
	if path == "version" {
		return
	}
	if !slices.Contains(keysBelow(prefix), key.Value) || strings.Contains(key.Value, ".") {
		r.unknown(key, prefix)
		return
	}
	s, leaf := find(path)
	switch {
	case value.Kind == yaml.AliasNode || value.Anchor != "":
		r.fault(value, "anchors and aliases are not used here")
	case !leaf:
		r.mapping(value, path+".")
	case value.Kind == yaml.SequenceNode && s.item != nil:
		r.list(s, value)
	case value.Kind != yaml.ScalarNode:
		r.fault(value, "%s wants one value", path)
	case value.Tag == "!!null":
		r.fault(value, "%s has no value (remove the line for the default)", path)
	case !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, value.Tag):
		r.fault(value, "%s: tag %s is not used here", path, value.Tag)
	default:
		if err := s.set(&r.config, value.Value); err != nil {
			r.fault(value, "%s: %v", path, err)
		}
	}
}

// maxItems bounds a list.
const maxItems = 4096

// list reads a setting of many values; each is told where it stands.
func (r *reader) list(s setting, n *yaml.Node) {
	if len(n.Content) > maxItems {
		r.fault(n, "%s has %d values, at most %d are read", s.path, len(n.Content), maxItems)
		return
	}
	var out []string
	for _, v := range n.Content {
		if v.Kind != yaml.ScalarNode || v.Tag == "!!null" || v.Anchor != "" {
			r.fault(v, "%s: want plain values in the list", s.path)
			continue
		}
		item, err := s.item(v.Value)
		if err != nil {
			r.fault(v, "%s: %v", s.path, err)
			continue
		}
		out = append(out, item)
	}
	if err := s.set(&r.config, strings.Join(out, ", ")); err != nil {
		r.fault(n, "%s: %v", s.path, err)
	}
}

func (r *reader) unknown(key *yaml.Node, prefix string) {
	name := prefix + key.Value
	if section, last, dotted := strings.Cut(key.Value, "."); dotted && prefix == "" {
		if _, ok := find(key.Value); ok {
			r.fault(key, "unknown setting %q: write %q and below it, indented, \"%s: …\"", name, section+":", last)
			return
		}
	}
	if near := text.Nearest(key.Value, keysBelow(prefix)); near != "" {
		r.fault(key, "unknown setting %q: did you mean %q?", name, prefix+near)
		return
	}
	for _, s := range settings {
		if _, last, nested := strings.Cut(s.path, "."); nested && last == key.Value {
			r.fault(key, "unknown setting %q: did you mean %q?", name, s.path)
			return
		}
	}
	r.fault(key, "unknown setting %q", name)
}
