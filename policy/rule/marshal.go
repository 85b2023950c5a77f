package rule

import (
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Comments are written into a file for the people who read it.
type Comments struct {
	Head  string            // of the file
	Rules map[string]string // by id of a rule or confine entry: stands above it
}

// Marshal writes a set as one canonical file of rules, which reads back as the
// same set. A list that came from a file is written as a reference to it;
// modules are not written.
func Marshal(s *Set, c Comments) ([]byte, error) {
	f := ruleFile{version: "1", confine: s.Confine, rules: s.Rules}
	for _, name := range slices.Sorted(maps.Keys(s.Lists)) {
		f.lists = append(f.lists, declare(s.Lists[name]))
	}
	root := language().file.write(&f)
	doc := &yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{root}, HeadComment: commentText(c.Head)}
	for i := 0; i+1 < len(root.Content); i += 2 {
		for _, item := range root.Content[i+1].Content {
			if item.Kind == yaml.MappingNode && len(item.Content) > 1 && item.Content[0].Value == "id" {
				item.HeadComment = commentText(c.Rules[item.Content[1].Value])
			}
		}
	}
	return encode(doc)
}

func declare(l *List) listDecl {
	d := listDecl{name: l.Name, file: l.File}
	if l.File == "" {
		d.items = slices.Collect(l.Names())
		for p := range l.Nets() {
			d.items = append(d.items, Host{Kind: HostNet, Net: p})
		}
	}
	return d
}

// commentText makes each line of s a comment.
func commentText(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
	if s == "" {
		return ""
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		l = strings.TrimSpace(strings.Map(printable, l))
		if !strings.HasPrefix(l, "#") {
			l = strings.TrimSpace("# " + l)
		}
		lines[i] = l
	}
	return strings.Join(lines, "\n")
}

// printable keeps control characters out of files: the texts of comments come
// from the record, where programs wrote them.
func printable(c rune) rune {
	if c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x2029 {
		return ' '
	}
	return c
}
