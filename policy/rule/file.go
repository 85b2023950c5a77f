package rule

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"gopkg.in/yaml.v3"
)

// ruleFile is one file of rules as it was read.
type ruleFile struct {
	version string
	lists   []listDecl
	confine []Confine
	rules   []Rule
}

// listDecl is a list as a rule file declares it: its items, or the file that
// has them.
type listDecl struct {
	name  string
	file  string
	items []Host
	pos   Position
}

func (g *grammar) setFile() {
	g.list.set(needed(field("file", "the file with the list's items, relative to this one",
		scalar("the name of a file", stringSchema, parseListFile, same), func(l *listDecl) *string { return &l.file })))
	lists := g.listsValue()
	g.file.set(
		field("version", "the version of this format: 1", versionValue(), func(f *ruleFile) *string { return &f.version }),
		field("lists", "named lists of hosts, inline or from a file; rules name them @NAME", lists, func(f *ruleFile) *[]listDecl { return &f.lists }),
		field("confine", "processes that may do only what an allow rule grants", sequence(&g.confine, "confine"), func(f *ruleFile) *[]Confine { return &f.confine }),
		field("rules", "the rules, in any order", sequence(&g.rule, "rule"), func(f *ruleFile) *[]Rule { return &f.rules }),
	)
}

func versionValue() value[string] {
	v := scalar("a version", jsonSchema{"const": 1}, func(s string) (string, error) { return s, nil }, same)
	v.write = numberNode
	return v
}

// checkVersion reports whether the file is one that can be read on: of another
// version everything would be an error.
func (r *reader) checkVersion(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode {
		return true
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "version" {
			continue
		}
		if i > 0 {
			r.fail(n.Content[i], "version must be the first key")
		}
		v := n.Content[i+1]
		if v.Tag == "!!null" {
			r.fail(v, "version has no value: write version: 1")
			return false
		}
		if v.Value != "1" {
			r.fail(v, "version %s is not one that this snitch reads: write version: 1, or install a newer snitch", kindName(v))
			return false
		}
		return true
	}
	r.fail(n, "the file does not say its version: begin with version: 1")
	return true
}

// listsValue reads the mapping of names to lists.
func (g *grammar) listsValue() value[[]listDecl] {
	item := scalar("a name, an address or a network", stringSchema, parseListItem, Host.String)
	return value[[]listDecl]{
		what: "named lists",
		schema: jsonSchema{
			"type": "object", "minProperties": 1, "propertyNames": idValue().schema,
			"additionalProperties": jsonSchema{"anyOf": []any{oneOrMore(item).schema, jsonSchema{"$ref": "#/$defs/list"}}},
		},
		read:  func(r *reader, n *yaml.Node) ([]listDecl, bool) { return g.readLists(r, n, item) },
		write: func(lists []listDecl) *yaml.Node { return g.writeLists(lists, item) },
	}
}

func (g *grammar) readLists(r *reader, n *yaml.Node, item value[Host]) ([]listDecl, bool) {
	if !r.plain(n) {
		return nil, false
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		r.fail(n, "want a mapping of names to lists, not %s", kindName(n))
		return nil, false
	}
	var out []listDecl
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, val := n.Content[i], n.Content[i+1]
		id, ok := idValue().read(r, name)
		if !ok {
			continue
		}
		l := listDecl{name: id, pos: r.pos(name)}
		if val.Kind == yaml.MappingNode {
			g.list.read(r, val, &l)
		} else {
			l.items, _ = oneOrMore(item).read(r, val)
		}
		out = append(out, l) // also after an error: else every @name were another one
	}
	return out, true
}

func (g *grammar) writeLists(lists []listDecl, item value[Host]) *yaml.Node {
	if len(lists) == 0 {
		return nil
	}
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, l := range lists {
		val := writeItems(l.items, item)
		if l.file != "" {
			val = g.list.write(&l)
		}
		if val != nil {
			out.Content = append(out.Content, textNode(l.name), val)
		}
	}
	return out
}

// parseListFile takes a path below the directory of the file that names it.
func parseListFile(s string) (string, error) {
	clean := path.Clean(s)
	switch {
	case path.IsAbs(s) || strings.HasPrefix(s, "~"):
		return "", fmt.Errorf("%q is not below the directory of rules: write a path relative to this file", clip(s))
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return "", fmt.Errorf("%q leads out of the directory: a list lies beside the rules that use it, or below", clip(s))
	case !fs.ValidPath(clean) || clean == "." || strings.ContainsRune(s, '\\'):
		return "", fmt.Errorf("%q is not a path of a file", clip(s))
	case ruleFileName(clean) || strings.HasSuffix(clean, ".rego"):
		return "", fmt.Errorf("%q would be read as rules: name a list with another ending, as .txt", clip(s))
	}
	return clean, nil
}
