package rule

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// reader reads one YAML file and says where what is wrong.
type reader struct {
	*collector
	file  string
	lines [][]byte      // of the source
	wide  map[int][]int // of lines that are not ASCII: where each 64th character begins, in bytes
	// path names the key that is being read, from the rule or case on; where
	// remembers the positions of a rule's keys by path, nil outside of one.
	path  string
	where map[string]Position
	refs  []listRef
	depth int // of mappings
}

// listRef is an @list in a rule.
type listRef struct {
	name string
	pos  Position
}

// pos is where a node begins. The parser counts characters, a Position bytes.
func (r *reader) pos(n *yaml.Node) Position { return r.at(n.Line, n.Column) }

func (r *reader) at(line, char int) Position {
	return Position{File: r.file, Line: line, Col: r.byteColumn(line, char)}
}

// stride is how many characters lie between the marks of a wide line: with
// them, a position costs the same in a line of a million characters.
const stride = 64

func (r *reader) byteColumn(line, char int) int {
	marks, ok := r.wide[line]
	if !ok || char < 1 || (char-1)/stride >= len(marks) {
		return char
	}
	at := marks[(char-1)/stride]
	for range (char - 1) % stride {
		_, size := utf8.DecodeRune(r.lines[line-1][at:])
		at += size
	}
	return at + 1
}

// fail reports an error at a node.
func (r *reader) fail(n *yaml.Node, format string, args ...any) { r.error(r.pos(n), format, args...) }

// document parses the one document of src, nil when that is not possible.
func (r *reader) document(src []byte) *yaml.Node {
	src, ok := r.decodeText(src)
	if !ok {
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		r.error(r.at(1, 1), "the file is empty: begin with version: 1")
		return nil
	case err != nil:
		r.syntax(src, err)
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		r.error(r.at(second.Line, 1), "a second YAML document: one file holds one document, put this into a file of its own")
		return nil
	case !errors.Is(err, io.EOF):
		r.syntax(src, err)
		return nil
	}
	return doc.Content[0]
}

// decodeText removes a byte order mark and refuses what is not UTF-8.
func (r *reader) decodeText(src []byte) ([]byte, bool) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	r.lines = bytes.Split(src, []byte("\n"))
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) {
		r.error(r.at(1, 1), "the file is UTF-16: save it as UTF-8")
		return nil, false
	}
	r.wide = make(map[int][]int)
	for i, line := range r.lines {
		var marks []int
		chars := 0
		for col := 0; col < len(line); chars++ {
			if chars%stride == 0 {
				marks = append(marks, col)
			}
			c, size := utf8.DecodeRune(line[col:])
			at := Position{File: r.file, Line: i + 1, Col: col + 1}
			if c == utf8.RuneError && size == 1 {
				r.error(at, "byte 0x%02x is not UTF-8: save the file as UTF-8", line[col])
				return nil, false
			}
			if c < ' ' && c != '\t' && (c != '\r' || col != len(line)-1) || c == 0x7f {
				r.error(at, "control character %U: remove it", c)
				return nil, false
			}
			col += size
		}
		if chars < len(line) {
			r.wide[i+1] = marks
		}
	}
	return src, true
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntax reports an error of the YAML parser, which knows at most the line,
// with what people mostly did wrong there.
func (r *reader) syntax(src []byte, err error) {
	line, msg := 1, err.Error()
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		msg = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = min(max(n, 1), len(r.lines))
		}
	}
	if m := yamlAnchor.FindStringSubmatch(msg); m != nil {
		pos := r.find("*"+m[1], 1)
		r.error(pos, "*%s without quotes is a YAML alias: write %q", m[1], "*"+m[1])
		return
	}
	// The parser's line is that of the construct it was in: the culprit stands
	// there or a little further down.
	for n := line; n <= len(r.lines) && n < line+3; n++ {
		text := string(r.lines[n-1])
		if i := strings.IndexByte(text, '\t'); i >= 0 && strings.TrimSpace(text[:i]) == "" {
			r.error(Position{r.file, n, i + 1}, "a tab: YAML is indented by spaces")
			return
		}
		m := bareSign.FindStringIndex(text)
		if m != nil && (strings.Contains(msg, "cannot start any token") || strings.Contains(msg, "alphabetic or numeric")) {
			word := strings.FieldsFunc(text[m[1]-1:], func(c rune) bool { return strings.ContainsRune(" ,]}\r", c) })[0]
			r.error(Position{r.file, n, m[1]}, "%s needs quotes, the sign in front means something else to YAML: write %q", word, word)
			return
		}
	}
	hint := ""
	switch {
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = ` (a value that holds ": " needs quotes; else the indentation is wrong)`
	case strings.Contains(msg, "did not find expected"):
		hint = " (is a bracket, a quote or a comma missing, or the indentation wrong?)"
	}
	indent := len(r.lines[line-1]) - len(bytes.TrimLeft(r.lines[line-1], " "))
	r.error(Position{r.file, line, indent + 1}, "YAML: %s%s", msg, hint)
}

// bareSign finds a value that begins with a sign YAML keeps for itself.
var bareSign = regexp.MustCompile("(?:[:,\\[-]\\s*)[@`%*&]")

// find is where text first stands at or after a line.
func (r *reader) find(text string, line int) Position {
	for n := line; n <= len(r.lines); n++ {
		if i := bytes.Index(r.lines[n-1], []byte(text)); i >= 0 {
			return Position{r.file, n, i + 1}
		}
	}
	return Position{r.file, line, 1}
}

// plain refuses what these files have no use for: aliases (which hide what a
// rule says, and may expand without bound), anchors and tags.
func (r *reader) plain(n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode:
		r.fail(n, "*%s is a YAML alias, which rule files do not have: write the value out, or put quotes around a name with a star", n.Value)
	case n.Anchor != "":
		r.fail(n, "&%s is a YAML anchor, which rule files do not have: write the value where it is used", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		r.fail(n, "%s is a YAML tag, which rule files do not have: remove it", n.Tag)
	default:
		return true
	}
	return false
}

// text is the text of a scalar as it is written, whatever YAML takes it for:
// 0755, 1e5, no and 64 digits stay what they are. what names the value.
func (r *reader) text(n *yaml.Node, what string) (string, bool) {
	if !r.plain(n) {
		return "", false
	}
	bare := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch {
	case n.Kind == yaml.MappingNode:
		r.fail(n, "want %s, not a mapping", what)
	case n.Kind == yaml.SequenceNode:
		r.fail(n, "want %s, not a list", what)
	case n.Tag == "!!null":
		r.fail(n, "no value: want %s; to mean any, leave the key out", what)
	case n.Value == "":
		r.fail(n, "an empty text: want %s; to mean any, leave the key out", what)
	case bare && n.Tag == "!!bool":
		r.fail(n, "%s without quotes is a boolean: write %q if you mean the word", n.Value, n.Value)
	case len(n.Value) > maxText:
		r.fail(n, "%d bytes are too long: at most %d", len(n.Value), maxText)
	default:
		return n.Value, true
	}
	return "", false
}

// maxText bounds one value: longer than any path or command line that is kept.
const maxText = 4096

// kindName names what a node is, for errors.
func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		return "an empty list"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return fmt.Sprintf("%q", clip(n.Value))
}
