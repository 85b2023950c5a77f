package enforce

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"snitch/monitor/event"
)

// Promote takes rules and confine entries of mode audit out of it: the rules
// with these ids vote from then on. Everything else of the file stays as it is,
// byte by byte: a line that says nothing but the mode goes, elsewhere the word
// is replaced. promoted are the ids that were found so, in their order.
func Promote(src []byte, ids []string) (out []byte, promoted []string, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return nil, nil, fmt.Errorf("read rules: %w", err)
	}
	lines := slices.Collect(strings.Lines(string(src)))
	for _, item := range ruleItems(&doc) {
		id, key, value := modeOf(item)
		if key == nil || value.Value != event.ModeAudit.String() || !slices.Contains(ids, id) {
			continue
		}
		if err := enforceLine(lines, key, value); err != nil {
			return nil, nil, fmt.Errorf("promote %q: %w", id, err)
		}
		promoted = append(promoted, id)
	}
	return []byte(strings.Join(lines, "")), promoted, nil
}

// ruleItems are the entries of rules and confine.
func ruleItems(doc *yaml.Node) (items []*yaml.Node) {
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	root := doc.Content[0].Content
	for i := 0; i+1 < len(root); i += 2 {
		if name := root[i].Value; (name == "rules" || name == "confine") && root[i+1].Kind == yaml.SequenceNode {
			items = append(items, root[i+1].Content...)
		}
	}
	return items
}

// modeOf is the id of an entry and where its mode stands; key is nil when it
// has none.
func modeOf(item *yaml.Node) (id string, key, value *yaml.Node) {
	if item.Kind != yaml.MappingNode {
		return "", nil, nil
	}
	for i := 0; i+1 < len(item.Content); i += 2 {
		switch item.Content[i].Value {
		case "id":
			id = item.Content[i+1].Value
		case "mode":
			key, value = item.Content[i], item.Content[i+1]
		}
	}
	return id, key, value
}

// enforceLine changes the line of a mode. Lines keep their places, so that
// positions in later ones hold: one that goes becomes empty.
func enforceLine(lines []string, key, value *yaml.Node) error {
	if value.Line < 1 || value.Line > len(lines) {
		return fmt.Errorf("line %d is not there", value.Line)
	}
	line := lines[value.Line-1]
	if key.Line == value.Line && strings.TrimSpace(line) == "mode: audit" {
		lines[value.Line-1] = ""
		return nil
	}
	at := byteOf(line, value.Column)
	rest, quote := line[at:], ""
	if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		quote = rest[:1]
	}
	audit := quote + event.ModeAudit.String() + quote
	if !strings.HasPrefix(rest, audit) {
		return fmt.Errorf("line %d does not say %s", value.Line, audit)
	}
	lines[value.Line-1] = line[:at] + quote + event.ModeEnforce.String() + quote + rest[len(audit):]
	return nil
}

// byteOf is where column col of line begins: columns count characters from 1.
func byteOf(line string, col int) int {
	at := 0
	for ; col > 1 && at < len(line); col-- {
		_, n := utf8.DecodeRuneInString(line[at:])
		at += n
	}
	return at
}
