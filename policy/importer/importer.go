package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"snitch/policy/rule"
)

// Bounds of what is read.
const (
	MaxFile  = 64 << 20 // bytes of one file
	maxRules = 100_000
	maxItems = 1_000_000 // of one list
	maxDepth = 4         // of operators in operators
	maxNotes = 100       // of one rule
	maxText  = 300       // bytes of a foreign text that are shown
)

// Source is one file.
type Source struct {
	Name string // as the report shows it
	Data []byte
}

// Item is one rule of a file, imported or not.
type Item struct {
	File  string
	Name  string     // as its own product shows it
	Rule  *rule.Rule // nil: not imported, and Notes say why
	Notes []string   // what is not as it was
}

// Result is what came of some files.
type Result struct {
	Product string
	Items   []Item
	Lists   []List
	Notes   []string // about all of them
}

// List is a list of hosts that was part of a file.
type List struct {
	Name  string
	Hosts []rule.Host
}

// Count says how many rules were imported as they were, with a difference, and
// not at all.
func (r *Result) Count() (whole, changed, left int) {
	for i := range r.Items {
		switch {
		case r.Items[i].Rule == nil:
			left++
		case len(r.Items[i].Notes) > 0:
			changed++
		default:
			whole++
		}
	}
	return whole, changed, left
}

// refusal is a condition that cannot be carried over: its rule is not imported.
type refusal struct{ why string }

func (e *refusal) Error() string { return e.why }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// draft is a rule in the making.
type draft struct {
	rule  rule.Rule
	notes []string
}

func (d *draft) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, n := range d.notes {
		if n == text {
			return
		}
	}
	if len(d.notes) < maxNotes {
		d.notes = append(d.notes, text)
	}
}

func (d *draft) process() *rule.ProcessMatch {
	if d.rule.Match.Process == nil {
		d.rule.Match.Process = &rule.ProcessMatch{}
	}
	return d.rule.Match.Process
}

func (d *draft) to() *rule.EndpointMatch {
	if d.rule.Match.To == nil {
		d.rule.Match.To = &rule.EndpointMatch{}
	}
	return d.rule.Match.To
}

func (d *draft) from() *rule.EndpointMatch {
	if d.rule.Match.From == nil {
		d.rule.Match.From = &rule.EndpointMatch{}
	}
	return d.rule.Match.From
}

// once sets a condition that a rule here can have once only: two of them would
// both have to hold.
func once[T any](to *[]T, items []T, what string) error {
	if len(*to) > 0 {
		return refuse("two conditions on %s", what)
	}
	*to = items
	return nil
}

// ids makes rule ids of foreign names, each once.
type ids map[string]bool

const maxID = 64

func (u ids) make(name, fallback string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= maxID-8 {
			break
		}
	}
	id := strings.Trim(b.String(), "-._")
	if id == "" || strings.HasPrefix(id, "custom.") {
		id = strings.Trim(fallback+"-"+id, "-")
	}
	free := id
	for n := 2; u[free]; n++ {
		free = id + "-" + strconv.Itoa(n)
	}
	u[free] = true
	return free
}

// shown makes a foreign text fit for one line of a comment or a report: what is
// not printable is escaped, what is longer than maxText bytes is cut.
func shown(s string) string {
	var b strings.Builder
	for _, r := range s {
		next := string(r)
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			next = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if b.Len()+len(next) > maxText {
			b.WriteString("…")
			break
		}
		b.WriteString(next)
	}
	return b.String()
}

// decode reads one JSON document, and nothing behind it.
func decode(src Source, v any) error {
	if len(src.Data) > MaxFile {
		return fmt.Errorf("%s is larger than %d bytes", src.Name, MaxFile)
	}
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(src.Data, []byte("\xef\xbb\xbf"))))
	if err := dec.Decode(v); err != nil {
		return syntaxError(src, err, dec.InputOffset())
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:%s: something stands behind the JSON document", src.Name, lineCol(src.Data, end))
	}
	return nil
}

func syntaxError(src Source, err error, at int64) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%s: %w", src.Name, lineCol(src.Data, syntax.Offset-1), err)
	case errors.As(err, &kind):
		return fmt.Errorf("%s:%s: %s has a value of another kind (%s)", src.Name, lineCol(src.Data, kind.Offset-1), kind.Field, kind.Value)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("%s:%s: the file ends in the middle of the JSON document", src.Name, lineCol(src.Data, int64(len(src.Data))))
	}
	return fmt.Errorf("%s:%s: %w", src.Name, lineCol(src.Data, at), err)
}

func lineCol(data []byte, offset int64) string {
	before := data[:min(max(offset, 0), int64(len(data)))]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Sprintf("%d:%d", line, len(before)-bytes.LastIndexByte(before, '\n'))
}

// unread names the keys of a JSON object that are not among known.
func unread(object json.RawMessage, known ...string) []string {
	var all map[string]json.RawMessage
	if json.Unmarshal(object, &all) != nil {
		return nil // no object: who reads it says so
	}
	var out []string
	for key := range all {
		if !slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, key) }) {
			out = append(out, shown(key))
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxNotes)]
}
