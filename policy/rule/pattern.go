package rule

import "strings"

// PatternKind says what a star of a Pattern means.
type PatternKind uint8

// Kinds of Pattern.
const (
	PatternInvalid PatternKind = 0
	WordPattern    PatternKind = 1 // * is any run of characters
	PathPattern    PatternKind = 2 // * is any run without a slash, ** any run
	MarkedPattern  PatternKind = 3 // as WordPattern, of facts that may be None or begin with a mark ("modified:NAME")
)

// marks begin facts that are not what a star stands for: a rule for the files
// of every package does not mean those that were changed.
var marks = []string{"modified:", "unverified:"}

// mark is what of a fact, or of a pattern, has to be written out.
func mark(s string) string {
	if s == None {
		return s
	}
	for _, m := range marks {
		if strings.HasPrefix(s, m) {
			return m
		}
	}
	return ""
}

// Mark is None or the mark that p asks for; a MarkedPattern matches nothing
// with another one.
func (p Pattern) Mark() string { return mark(p.Text) }

// Pattern is a text with stars, matched whole and case-sensitive. Other
// characters mean themselves: there is no ?, no [], no {} and no escape.
type Pattern struct {
	Text string
	Kind PatternKind
}

// Literal reports whether p has no star.
func (p Pattern) Literal() bool { return !strings.Contains(p.Text, "*") }

// Match reports whether p matches s, in time O(len(p)·len(s)) at worst. An
// empty s is an unknown fact: nothing matches it.
func (p Pattern) Match(s string) bool {
	if s == "" {
		return false
	}
	switch {
	case p.Literal():
		return p.Text == s
	case p.Kind == MarkedPattern && mark(s) != mark(p.Text):
		return false
	}
	return p.glob(s)
}

// glob walks pattern and text once, going back to the last star of each kind
// on a mismatch. A ** may swallow slashes, so a mismatch under a * falls back
// to the ** before it.
func (p Pattern) glob(s string) bool {
	type resume struct{ pat, str int } // after the star; where the star's run ends
	one, two := resume{-1, 0}, resume{-1, 0}
	i, j := 0, 0
	for j < len(s) || i < len(p.Text) {
		if i < len(p.Text) {
			switch {
			case p.Text[i] == '*' && (p.Kind != PathPattern || strings.HasPrefix(p.Text[i:], "**")):
				for i < len(p.Text) && p.Text[i] == '*' {
					i++
				}
				two, one = resume{i, j}, resume{-1, 0}
				continue
			case p.Text[i] == '*':
				i++
				one = resume{i, j}
				continue
			case j < len(s) && p.Text[i] == s[j]:
				i, j = i+1, j+1
				continue
			}
		}
		switch {
		case one.pat >= 0 && one.str < len(s) && s[one.str] != '/':
			one.str++
			i, j = one.pat, one.str
		case two.pat >= 0 && two.str < len(s):
			two.str++
			one = resume{-1, 0}
			i, j = two.pat, two.str
		default:
			return false
		}
	}
	return true
}
