package ui

import (
	"fmt"
	"slices"
	"strings"

	"snitch/monitor/store/query"
)

// maxFilters bounds a stack.
const maxFilters = 32

// Stack is filters in the order in which they were put on each other.
type Stack struct {
	texts []string
	ready query.Filters
}

// Push adds the text of a filter.
func (s *Stack) Push(filter string) error {
	if slices.Contains(s.texts, filter) {
		return nil
	}
	if len(s.texts) >= maxFilters {
		return fmt.Errorf("%d filters are enough", maxFilters)
	}
	texts := append(slices.Clone(s.texts), filter)
	ready, err := query.Parse(texts)
	if err != nil {
		return err
	}
	s.texts, s.ready = texts, ready
	return nil
}

// Pop takes the last one off, and reports whether there was one.
func (s *Stack) Pop() bool {
	if len(s.texts) == 0 {
		return false
	}
	s.texts = slices.Clone(s.texts[:len(s.texts)-1])
	s.ready, _ = query.Parse(s.texts) // they parsed before
	return true
}

// Clear takes all off.
func (s *Stack) Clear() { s.texts, s.ready = nil, nil }

// Filters are the filters, ready to use; they are not changed later.
func (s *Stack) Filters() query.Filters { return s.ready }

// Texts are the filters as they are written.
func (s *Stack) Texts() []string { return s.texts }

// Breadcrumb draws them, those that exclude apart.
func (s *Stack) Breadcrumb() []Span {
	var out []Span
	for _, t := range s.texts {
		tone := Accent
		if strings.HasPrefix(t, "!") || excludes(t) {
			tone = Warn
		}
		out = append(out, Span{Text: " › ", Tone: Dim}, Span{Text: Shorten(t, 36), Tone: tone})
	}
	return out
}

// excludes reports whether a filter says "not" in its operator.
func excludes(filter string) bool {
	i := strings.IndexAny(filter, "=~")
	return i > 0 && filter[i-1] == '!'
}

// Shorten cuts what is long in the middle: both ends say something.
func Shorten(s string, width int) string {
	s = Clean(s)
	if Width(s) <= width {
		return s
	}
	head := Fit(s, width/2, false, false)
	return strings.TrimRight(head, " ") + strings.TrimPrefix(strings.TrimLeft(Fit(s, width-width/2, true, true), " "), "…")
}

// Filter is the text of a filter for one value of a field, whatever is in it.
func Filter(field, operator, value string) string {
	return field + operator + strings.NewReplacer(`\`, `\\`, `*`, `\*`, `,`, `\,`).Replace(value)
}
