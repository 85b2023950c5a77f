package rule

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is one thing that is wrong, or doubtful, in the files.
type Error struct {
	Pos Position
	Msg string // one line, ends with what to write instead where that is known
}

// Error is "file:line:col: message".
func (e Error) Error() string { return fmt.Sprintf("%s: %s", e.Pos, e.Msg) }

// maxErrors bounds what is told at once: more than a person reads.
const maxErrors = 200

// Errors is everything that is wrong with what was loaded, sorted by position.
type Errors struct {
	List []Error // at most 200
	More int     // how many were left out
}

// Error is one line for each error.
func (e *Errors) Error() string {
	var b strings.Builder
	for i, one := range e.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(one.Error())
	}
	if e.More > 0 {
		fmt.Fprintf(&b, "\nand %d more", e.More)
	}
	return b.String()
}

// Unwrap gives the single errors to errors.As.
func (e *Errors) Unwrap() []error {
	out := make([]error, len(e.List))
	for i := range e.List {
		out[i] = e.List[i]
	}
	return out
}

// collector gathers the errors and warnings of one load.
type collector struct {
	errors, warnings []Error
	dropped          int // errors beyond the bound
}

// The bound while collecting is higher than the one of the answer, so that
// errors found late (of lists, of duplicates) still take their sorted place.
const maxCollected = 20 * maxErrors

// full reports whether another error would only be counted.
func (c *collector) full() bool { return len(c.errors) >= maxCollected }

func (c *collector) error(pos Position, format string, args ...any) {
	if c.full() {
		c.dropped++
		return
	}
	c.errors = append(c.errors, Error{pos, escaped(fmt.Sprintf(format, args...))})
}

func (c *collector) warn(pos Position, format string, args ...any) {
	if len(c.warnings) < maxCollected {
		c.warnings = append(c.warnings, Error{pos, escaped(fmt.Sprintf(format, args...))})
	}
}

// err is nil when nothing is wrong.
func (c *collector) err() error {
	if len(c.errors) == 0 {
		return nil
	}
	sortErrors(c.errors)
	n := min(len(c.errors), maxErrors)
	return &Errors{List: slices.Clone(c.errors[:n]), More: len(c.errors) - n + c.dropped}
}

func sortErrors(list []Error) {
	slices.SortStableFunc(list, func(a, b Error) int {
		return cmp.Or(strings.Compare(a.Pos.File, b.Pos.File), a.Pos.Line-b.Pos.Line, a.Pos.Col-b.Pos.Col)
	})
}

// escaped writes out what a terminal would act on: a message repeats words of a
// file that may be anybody's, not always within quotes.
func escaped(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch _, size := utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !strconv.IsPrint(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
