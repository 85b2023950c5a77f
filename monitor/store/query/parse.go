package query

import (
	"fmt"
	"slices"
	"strings"

	"snitch/monitor/event"
)

// Bounds of what Parse accepts.
const (
	maxFilters     = 64
	maxFilterBytes = 8192
	maxValues      = 256
)

// Filters must all hold. They are immutable and safe for concurrent use.
type Filters []Filter

// Filter is one condition on a connection.
type Filter struct {
	text  string
	not   bool
	field *field
	items []item
}

// String is the text that was parsed.
func (f Filter) String() string { return f.text }

// item is one value of a filter; which parts are set depends on the field.
type item struct {
	globs  []glob
	lo, hi uint64
	addrs  addrRange
	name   string
	codes  []int64
}

// ParseError says what is wrong with a filter and where.
type ParseError struct {
	Filter  string // as it was given
	Offset  int    // in bytes, where the problem begins
	Problem string
	Hint    string // "" or what to write instead
}

// Error is one line: the filter, the position (from 1), the problem, the hint.
func (e *ParseError) Error() string {
	s := fmt.Sprintf("filter %q, position %d: %s", shorten(e.Filter), e.Offset+1, e.Problem)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func shorten(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}

// Parse reads filters, one an argument. The error is a *ParseError.
func Parse(args []string) (Filters, error) {
	if len(args) > maxFilters {
		return nil, &ParseError{Filter: args[maxFilters], Problem: fmt.Sprintf("more than %d filters", maxFilters)}
	}
	all := fields()
	out := make(Filters, 0, len(args))
	for _, arg := range args {
		f, err := parseFilter(all, arg)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// parseFilter reads ["!"] FIELD ("=" | "!=" | "~" | "!~") VALUE {"," VALUE}.
func parseFilter(all []field, text string) (Filter, error) {
	fail := func(offset int, problem, hint string) (Filter, error) {
		return Filter{}, &ParseError{Filter: text, Offset: offset, Problem: problem, Hint: hint}
	}
	if len(text) > maxFilterBytes {
		return fail(maxFilterBytes, fmt.Sprintf("longer than %d bytes", maxFilterBytes), "")
	}
	f := Filter{text: text}
	at := 0
	if strings.HasPrefix(text, "!") {
		f.not, at = true, 1
	}
	end := strings.IndexAny(text[at:], "=~!")
	if end < 0 {
		return fail(len(text), "no operator", `write FIELD=VALUE, for example name=curl or domain~example`)
	}
	end += at
	name := text[at:end]
	i := slices.IndexFunc(all, func(c field) bool { return c.name == name })
	if i < 0 {
		return fail(at, fmt.Sprintf("no field %q", shorten(name)), suggest(name, nameList(all)))
	}
	f.field = &all[i]
	not, part, length := operator(text[end:])
	switch {
	case length == 0:
		return fail(end, "no operator", "the operators are = != ~ !~")
	case not && f.not:
		return fail(end, "excluded twice", "write either !"+name+"= or "+name+"!=")
	case part && !f.field.substring:
		return fail(end, fmt.Sprintf("%s has no parts to search in", name), "write "+name+"=VALUE")
	}
	f.not = f.not || not
	var err error
	f.items, err = parseValues(f.field, text, end+length, part)
	return f, err
}

// operator reads the operator at the start of s.
func operator(s string) (not, part bool, length int) {
	switch {
	case strings.HasPrefix(s, "!="):
		return true, false, 2
	case strings.HasPrefix(s, "!~"):
		return true, true, 2
	case strings.HasPrefix(s, "="):
		return false, false, 1
	case strings.HasPrefix(s, "~"):
		return false, true, 1
	}
	return false, false, 0
}

// parseValues reads the values from offset at on.
func parseValues(f *field, text string, at int, part bool) ([]item, error) {
	var items []item
	for {
		end, err := valueEnd(text, at)
		if err != nil {
			return nil, err
		}
		it, problem, hint := f.parse(text[at:end], part)
		if problem != "" {
			return nil, &ParseError{Filter: text, Offset: at, Problem: problem, Hint: hint}
		}
		if items = append(items, it); len(items) > maxValues {
			return nil, &ParseError{Filter: text, Offset: at, Problem: fmt.Sprintf("more than %d values", maxValues)}
		}
		if end == len(text) {
			return items, nil
		}
		at = end + 1
	}
}

// valueEnd is the position of the comma that ends the value at from.
func valueEnd(text string, from int) (int, error) {
	for i := from; i < len(text); i++ {
		switch text[i] {
		case ',':
			return i, nil
		case '\\':
			if i++; i == len(text) {
				return 0, &ParseError{Filter: text, Offset: i - 1, Problem: "a backslash with nothing behind it",
					Hint: `write \\ for a backslash`}
			}
		}
	}
	return len(text), nil
}

// Match reports whether r passes all filters: the same answer as SQL gives for
// its row.
func (fs Filters) Match(r *event.Record) bool {
	for i := range fs {
		if !fs[i].Match(r) {
			return false
		}
	}
	return true
}

// Match reports whether r passes the filter.
func (f *Filter) Match(r *event.Record) bool {
	for i := range f.items {
		if f.field.match(&f.items[i], r) {
			return !f.not
		}
	}
	return f.not
}

// Field documents a field for help texts and completions.
type Field struct {
	Name, Help string
	Group      bool // GroupQuery and SeriesQuery can group by it
}

// Fields lists the fields that a filter may name.
func Fields() []Field {
	all := fields()
	out := make([]Field, len(all))
	for i, f := range all {
		out[i] = Field{Name: f.name, Help: f.help, Group: f.group != nil}
	}
	return out
}

func nameList(all []field) []string {
	out := make([]string, len(all))
	for i, f := range all {
		out[i] = f.name
	}
	return out
}

// suggest is a hint with the nearest of the choices, or all of them when none
// is near.
func suggest(word string, choices []string) string {
	best, distance := "", 3
	for _, c := range choices {
		if d := editDistance(word, c); d < distance {
			best, distance = c, d
		}
	}
	if best == "" {
		for _, c := range choices {
			if len(word) > 1 && strings.Contains(c, word) {
				return fmt.Sprintf("did you mean %q?", c)
			}
		}
		return "one of: " + strings.Join(choices, " ")
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// editDistance is Levenshtein's, for short words; long ones are just far.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
