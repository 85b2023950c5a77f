package rule

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxLineWidth is where a mapping or list in one line is broken up.
const maxLineWidth = 110

// encode writes a document in the canonical layout: rules, entries and cases
// are blocks with an empty line between them; the values of their keys stand in
// one line where they fit and hold no comment.
func encode(doc *yaml.Node) ([]byte, error) {
	layout(doc.Content[0])
	markBlanks(doc)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return airy(b.Bytes()), nil
}

// blankMark stands for an empty line in a comment while it is encoded: the
// encoder tears a comment of several paragraphs apart.
const blankMark = "#\uE000"

func markBlanks(n *yaml.Node) {
	for _, c := range []*string{&n.HeadComment, &n.FootComment} {
		*c = strings.ReplaceAll(*c, "\n\n", "\n"+blankMark+"\n")
	}
	for _, c := range n.Content {
		markBlanks(c)
	}
}

// layout sets the styles of a whole file.
func layout(root *yaml.Node) {
	root.Style = 0
	for i := 0; i+1 < len(root.Content); i += 2 {
		section := root.Content[i+1]
		setScalarStyle(section)
		section.Style &^= yaml.FlowStyle
		switch section.Kind {
		case yaml.SequenceNode:
			for _, item := range section.Content {
				blockKeys(item, 4)
			}
		case yaml.MappingNode:
			blockKeys(section, 2)
		}
	}
}

// blockKeys writes each key of a mapping on its own line.
func blockKeys(n *yaml.Node, indent int) {
	setScalarStyle(n)
	n.Style &^= yaml.FlowStyle
	for i := 0; i+1 < len(n.Content); i += 2 {
		setScalarStyle(n.Content[i])
		fit(n.Content[i+1], indent, len(n.Content[i].Value)+2)
	}
}

// fit writes a value behind a key in one line if it fits there.
func fit(n *yaml.Node, indent, before int) {
	setScalarStyle(n)
	if n.Kind == yaml.ScalarNode {
		return
	}
	if !hasComment(n, true) && indent+before+flowWidth(n) <= maxLineWidth {
		flow(n)
		return
	}
	n.Style &^= yaml.FlowStyle
	if n.Kind == yaml.MappingNode {
		blockKeys(n, indent+2)
		return
	}
	for _, c := range n.Content {
		fit(c, indent+2, 2)
	}
}

func flow(n *yaml.Node) {
	setScalarStyle(n)
	if n.Kind != yaml.ScalarNode {
		n.Style |= yaml.FlowStyle
	}
	for _, c := range n.Content {
		flow(c)
	}
}

// setScalarStyle leaves quotes only where YAML, of whichever version, needs them.
func setScalarStyle(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		return
	}
	if n.Style == 0 && n.Tag != "!!str" {
		return // plain and no text: 443, true
	}
	value := n.Value
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		value = strings.TrimRight(value, "\n") // a block ends with one that nobody means
	}
	plain := textNode(value)
	n.Tag, n.Value, n.Style = plain.Tag, plain.Value, plain.Style
}

// hasComment reports whether a value holds a comment; those of its own last
// line can stay beside a flow value.
func hasComment(n *yaml.Node, outermost bool) bool {
	if n.HeadComment != "" || n.FootComment != "" || n.LineComment != "" && !outermost {
		return true
	}
	for _, c := range n.Content {
		if hasComment(c, false) {
			return true
		}
	}
	return false
}

// flowWidth is about how wide a value is in one line.
func flowWidth(n *yaml.Node) int {
	if n.Kind == yaml.ScalarNode {
		w := utf8.RuneCountInString(n.Value)
		if needsQuotes(n.Value) {
			w += 2
		}
		return w
	}
	w := 2 + 2*max(len(n.Content)-1, 0)
	for _, c := range n.Content {
		w += flowWidth(c)
	}
	return w
}

// airy puts an empty line before each section and each item of a section, in
// front of the comments that belong to it.
func airy(src []byte) []byte {
	lines := strings.Split(strings.TrimRight(string(src), "\n"), "\n")
	var out []string
	first := true // of the section: it stands right below the key
	for i, line := range lines {
		section := line != "" && line[0] != ' ' && line[0] != '#'
		item := strings.HasPrefix(line, "  - ") && isSequence(lines, i)
		if i > 0 && (section || item && !first) {
			out = insertBlank(out, line[:len(line)-len(strings.TrimLeft(line, " "))])
		}
		if section {
			first = true
		} else if item {
			first = false
		}
		out = append(out, strings.TrimRight(line, " "))
	}
	for i, line := range out {
		if strings.TrimSpace(line) == blankMark {
			out[i] = ""
		}
	}
	return []byte(strings.Join(out, "\n") + "\n")
}

// isSequence reports whether line i stands in a section that is a list: the
// items of a named list are indented deeper.
func isSequence(lines []string, i int) bool {
	for ; i >= 0; i-- {
		if l := lines[i]; l != "" && l[0] != ' ' && l[0] != '#' {
			return l == "rules:" || l == "confine:" || l == "cases:" ||
				strings.HasPrefix(l, "rules: #") || strings.HasPrefix(l, "confine: #") || strings.HasPrefix(l, "cases: #")
		}
	}
	return false
}

// insertBlank puts an empty line before the comments of this indentation at
// the end of out.
func insertBlank(out []string, indent string) []string {
	at := len(out)
	for at > 0 && strings.HasPrefix(out[at-1], indent+"#") {
		at--
	}
	if at == 0 || out[at-1] == "" {
		return out
	}
	out = append(out, "")
	copy(out[at+1:], out[at:])
	out[at] = ""
	return out
}
