package rule

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// The tables of keys. Reader, writer, formatter and JSON Schema all come from
// one table for each kind of mapping, so that they cannot differ.

type jsonSchema = map[string]any

// value is one type of value: how it is read, written and described.
type value[T any] struct {
	what   string // for errors: "a port or a range of ports"
	schema jsonSchema
	inner  *outline
	read   func(*reader, *yaml.Node) (T, bool) // false: the error is reported
	write  func(T) *yaml.Node                  // nil: no value, the key is left out
}

// outline is the order of keys in a mapping, or in the mappings of a list. The
// formatter needs no more of a table.
type outline struct {
	keys  []string
	inner map[string]*outline
}

// key is one key of a mapping that is read into a T.
type key[T any] struct {
	name, doc string
	required  bool
	schema    jsonSchema
	inner     *outline // nil: the value has no keys
	read      func(*reader, *yaml.Node, *T)
	write     func(*T) *yaml.Node
}

// table is all keys of one kind of mapping, in canonical order.
type table[T any] struct {
	what  string // for errors: "a rule"
	keys  []key[T]
	main  string                        // the key that is meant where a single value stands, "" none
	begin func(*reader, *yaml.Node, *T) // before the keys are read, nil: nothing
	check func(*reader, *yaml.Node, *T) // of the whole, nil: nothing

	outline outline // filled by set
}

// set gives a table its keys. Tables that hold each other are made first and
// filled then.
func (t *table[T]) set(keys ...key[T]) {
	t.keys = keys
	t.outline = outline{keys: t.names(), inner: make(map[string]*outline, len(keys))}
	for _, k := range keys {
		t.outline.inner[k.name] = k.inner
	}
}

// field is a key whose value goes to one place of T.
func field[T, V any](name, doc string, v value[V], at func(*T) *V) key[T] {
	return key[T]{
		name: name, doc: doc, schema: v.schema, inner: v.inner,
		read: func(r *reader, n *yaml.Node, into *T) {
			if x, ok := v.read(r, n); ok {
				*at(into) = x
			}
		},
		write: func(from *T) *yaml.Node { return v.write(*at(from)) },
	}
}

// needed marks a key as required.
func needed[T any](k key[T]) key[T] {
	k.required = true
	return k
}

// within makes the keys of a part keys of the whole.
func within[T, P any](keys []key[P], part func(*T) *P) []key[T] {
	out := make([]key[T], len(keys))
	for i, k := range keys {
		out[i] = key[T]{
			name: k.name, doc: k.doc, required: k.required, schema: k.schema, inner: k.inner,
			read:  func(r *reader, n *yaml.Node, into *T) { k.read(r, n, part(into)) },
			write: func(from *T) *yaml.Node { return k.write(part(from)) },
		}
	}
	return out
}

// maxNesting bounds mappings in mappings: a parent of a parent of a …
const maxNesting = 24

func (t *table[T]) names() []string {
	out := make([]string, len(t.keys))
	for i := range t.keys {
		out[i] = t.keys[i].name
	}
	return out
}

func (t *table[T]) find(name string) *key[T] {
	for i := range t.keys {
		if t.keys[i].name == name {
			return &t.keys[i]
		}
	}
	return nil
}

// read reads a mapping; false when it is none or holds nothing.
func (t *table[T]) read(r *reader, n *yaml.Node, into *T) bool {
	if !r.plain(n) {
		return false
	}
	if n.Kind == yaml.ScalarNode && t.main != "" && n.Tag == "!!str" && n.Value != "any" {
		r.fail(n, "want %s as a mapping: write {%s: %s}", t.what, t.main, clip(n.Value))
		return false
	}
	if n.Kind != yaml.MappingNode {
		r.fail(n, "want %s (a mapping with the keys %s), not %s", t.what, oneOf(t.names()), kindName(n))
		return false
	}
	if len(n.Content) == 0 {
		r.fail(n, "%s is empty: want at least one of %s", t.what, oneOf(t.names()))
		return false
	}
	if r.depth++; r.depth > maxNesting {
		r.fail(n, "%s is nested too deeply: at most %d mappings", t.what, maxNesting)
		return false
	}
	defer func() { r.depth-- }()
	if t.begin != nil {
		t.begin(r, n, into)
	}
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		t.readKey(r, n.Content[i], n.Content[i+1], into, seen)
	}
	for _, k := range t.keys {
		if k.required && seen[k.name] == nil {
			r.fail(n, "%s needs the key %s: %s", t.what, k.name, k.doc)
		}
	}
	if t.check != nil {
		t.check(r, n, into)
	}
	return true
}

func (t *table[T]) readKey(r *reader, name, val *yaml.Node, into *T, seen map[string]*yaml.Node) {
	switch {
	case name.Tag == "!!merge":
		r.fail(name, "<< merges YAML mappings, which rule files do not have: write the keys out")
		return
	case !r.plain(name):
		return
	case name.Kind != yaml.ScalarNode:
		r.fail(name, "%s as a key: want one of %s", kindName(name), oneOf(t.names()))
		return
	}
	if first := seen[name.Value]; first != nil {
		r.fail(name, "the key %q stands here again, first at %s: write it once, several values as a list", name.Value, r.pos(first))
		return
	}
	seen[name.Value] = name
	k := t.find(name.Value)
	if k == nil && r.full() { // a hint costs more than it is worth now
		r.dropped++
		return
	}
	if k == nil {
		r.fail(name, "unknown key %q in %s: %s", clip(name.Value), t.what, t.hint(name.Value))
		return
	}
	before := r.path
	r.path = strings.TrimPrefix(before+"."+k.name, ".")
	if r.where != nil {
		r.where[r.path] = r.pos(name)
	}
	k.read(r, val, into)
	r.path = before
}

// hint says which key may have been meant, else where a key of this name does
// belong, else which keys there are.
func (t *table[T]) hint(name string) string {
	if h := didYouMean(name, t.names()); h != "" {
		return h
	}
	if home := language().homes[name]; home != "" {
		return fmt.Sprintf("it belongs into %s", home)
	}
	return "want " + oneOf(t.names())
}

// write makes a mapping of the keys that have a value; nil without any.
func (t *table[T]) write(from *T) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, k := range t.keys {
		if v := k.write(from); v != nil {
			out.Content = append(out.Content, textNode(k.name), v)
		}
	}
	if len(out.Content) == 0 {
		return nil
	}
	return out
}

// mapping is the value of a table behind a pointer, nil when it is not there.
func mapping[T any](t *table[T], ref string) value[*T] {
	return value[*T]{
		what:   t.what,
		schema: jsonSchema{"$ref": "#/$defs/" + ref},
		inner:  &t.outline,
		read: func(r *reader, n *yaml.Node) (*T, bool) {
			into := new(T)
			return into, t.read(r, n, into)
		},
		write: func(v *T) *yaml.Node {
			if v == nil {
				return nil
			}
			return t.write(v)
		},
	}
}

// scalar is a value that is written as one word or text.
func scalar[T comparable](what string, schema jsonSchema, parse func(string) (T, error), format func(T) string) value[T] {
	return value[T]{
		what:   what,
		schema: schema,
		read: func(r *reader, n *yaml.Node) (v T, ok bool) {
			text, ok := r.text(n, what)
			if !ok {
				return v, false
			}
			v, err := parse(text)
			if err != nil {
				r.fail(n, "%s", err)
			}
			return v, err == nil
		},
		write: func(v T) *yaml.Node { return textNode(format(v)) },
	}
}

// optional leaves the zero value out.
func optional[T comparable](v value[T]) value[T] {
	write := v.write
	v.write = func(x T) *yaml.Node {
		if x == *new(T) {
			return nil
		}
		return write(x)
	}
	return v
}

// sequence is a list of mappings.
func sequence[T any](t *table[T], ref string) value[[]T] {
	return value[[]T]{
		what:   "a list, each item " + t.what,
		schema: jsonSchema{"type": "array", "items": jsonSchema{"$ref": "#/$defs/" + ref}, "minItems": 1},
		inner:  &t.outline,
		read: func(r *reader, n *yaml.Node) ([]T, bool) {
			if !r.plain(n) {
				return nil, false
			}
			if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
				r.fail(n, "want a list, each item %s (\"- …\"), not %s", t.what, kindName(n))
				return nil, false
			}
			out := make([]T, len(n.Content))
			path := r.path
			for i, c := range n.Content {
				r.path = fmt.Sprintf("%s[%d]", path, i)
				if r.where != nil {
					r.where[r.path] = r.pos(c)
				}
				t.read(r, c, &out[i])
			}
			r.path = path
			return out, true
		},
		write: func(list []T) *yaml.Node {
			return writeItems(list, value[T]{write: func(v T) *yaml.Node { return t.write(&v) }})
		},
	}
}

// oneOrMore is a list, for which its only item may stand alone.
func oneOrMore[T comparable](item value[T]) value[[]T] {
	return value[[]T]{
		what: item.what,
		schema: jsonSchema{"anyOf": []any{
			item.schema,
			jsonSchema{"type": "array", "items": item.schema, "minItems": 1},
		}},
		read: func(r *reader, n *yaml.Node) ([]T, bool) { return readItems(r, n, item) },
		write: func(list []T) *yaml.Node {
			items := writeItems(list, item)
			if items != nil && len(items.Content) == 1 {
				return items.Content[0]
			}
			return items
		},
	}
}

func readItems[T comparable](r *reader, n *yaml.Node, item value[T]) ([]T, bool) {
	if n.Kind != yaml.SequenceNode {
		v, ok := item.read(r, n)
		return []T{v}, ok
	}
	if !r.plain(n) {
		return nil, false
	}
	if len(n.Content) == 0 {
		r.fail(n, "an empty list: want %s; to mean any, leave the key out", item.what)
		return nil, false
	}
	out := make([]T, 0, len(n.Content))
	first := make(map[T]*yaml.Node, len(n.Content))
	for _, c := range n.Content {
		v, ok := item.read(r, c)
		switch {
		case !ok:
		case first[v] != nil:
			r.warn(r.pos(c), "%q stands in this list already, at %s: remove it", c.Value, r.pos(first[v]))
		default:
			if r.where != nil {
				r.where[fmt.Sprintf("%s[%d]", r.path, len(out))] = r.pos(c)
			}
			first[v] = c
			out = append(out, v)
		}
	}
	return out, len(out) > 0
}

func writeItems[T any](list []T, item value[T]) *yaml.Node {
	if len(list) == 0 {
		return nil
	}
	out := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, v := range list {
		out.Content = append(out.Content, item.write(v))
	}
	return out
}

// clip shortens a hostile text for an error.
func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:77], "") + "..."
	}
	return s
}
