package importer

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// maxWords bounds what one regular expression becomes.
const maxWords = 256

// maxExpanded bounds the bytes of all words together.
const maxExpanded = 16 << 10

// maxExpression bounds a regular expression.
const maxExpression = 1024

// some stands for a run of at least one character (".+"), which no text has.
const some = "\x01"

// words turns a regular expression into the texts that it matches, with "*" for
// any run of characters (some for one that is not empty), or says that this
// cannot be done. begins and ends say
// whether it is anchored: one that is not matches anywhere in a text.
func words(expression string) (out []string, begins, ends bool, err error) {
	if len(expression) > maxExpression {
		return nil, false, false, refuse("a regular expression of %d characters", len(expression))
	}
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil, false, false, refuse("a regular expression that does not parse: %s", shown(err.Error()))
	}
	re = re.Simplify()
	begins, re = cutAnchor(re, syntax.OpBeginText, true)
	ends, re = cutAnchor(re, syntax.OpEndText, false)
	out, ok := expand(re, 0)
	if !ok {
		return nil, false, false, refuse("the regular expression %s, which no list of patterns says", shown(expression))
	}
	slices.Sort(out)
	return slices.Compact(out), begins, ends, nil
}

// cutAnchor takes an anchor from an end of a concatenation. "(?-s:.*)" at the
// end means the same as no anchor, with a star.
func cutAnchor(re *syntax.Regexp, op syntax.Op, front bool) (bool, *syntax.Regexp) {
	if re.Op == op {
		return true, &syntax.Regexp{Op: syntax.OpEmptyMatch}
	}
	if re.Op == syntax.OpCapture {
		return cutAnchor(re.Sub[0], op, front)
	}
	if re.Op != syntax.OpConcat || len(re.Sub) == 0 {
		return false, re
	}
	i := len(re.Sub) - 1
	if front {
		i = 0
	}
	if re.Sub[i].Op != op {
		return false, re
	}
	rest := *re
	rest.Sub = slices.Delete(slices.Clone(re.Sub), i, i+1)
	return true, &rest
}

// maxNesting bounds expand; the parser allows 1000.
const maxNesting = 50

// expand lists what an expression matches. Upper and lower case are not told
// apart where the expression does not: the text is its lower case then.
func expand(re *syntax.Regexp, depth int) ([]string, bool) {
	if depth > maxNesting {
		return nil, false
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpLiteral:
		text := string(re.Rune)
		if re.Flags&syntax.FoldCase != 0 {
			text = strings.ToLower(text)
		}
		return []string{text}, !strings.ContainsAny(text, "*"+some)
	case syntax.OpCharClass:
		return expandClass(re)
	case syntax.OpCapture:
		return expand(re.Sub[0], depth+1)
	case syntax.OpStar, syntax.OpPlus:
		run := map[syntax.Op]string{syntax.OpStar: "*", syntax.OpPlus: some}[re.Op]
		return []string{run}, re.Sub[0].Op == syntax.OpAnyChar || re.Sub[0].Op == syntax.OpAnyCharNotNL
	case syntax.OpQuest:
		out, ok := expand(re.Sub[0], depth+1)
		return append(out, ""), ok && len(out) < maxWords
	case syntax.OpAlternate:
		var out []string
		for _, sub := range re.Sub {
			more, ok := expand(sub, depth+1)
			if out = append(out, more...); !ok || len(out) > maxWords {
				return nil, false
			}
		}
		return out, true
	case syntax.OpConcat:
		return expandAll(re.Sub, depth)
	}
	return nil, false // repetitions of something, anchors in the middle
}

func expandAll(subs []*syntax.Regexp, depth int) ([]string, bool) {
	out := []string{""}
	size := 0 // of the last out, so that the work of each step is bounded
	for _, sub := range subs {
		more, ok := expand(sub, depth+1)
		if !ok || len(out)*len(more) > maxWords || size*len(more) > maxExpanded {
			return nil, false
		}
		size = 0
		next := make([]string, 0, len(out)*len(more))
		for _, a := range out {
			for _, b := range more {
				next = append(next, a+b)
				size += len(a) + len(b)
			}
		}
		out = next
	}
	return out, true
}

func expandClass(re *syntax.Regexp) ([]string, bool) {
	var out []string
	for i := 0; i+1 < len(re.Rune); i += 2 {
		if re.Rune[i+1]-re.Rune[i] >= maxWords {
			return nil, false
		}
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			if out = append(out, string(r)); len(out) > maxWords || r == '*' || string(r) == some {
				return nil, false
			}
		}
	}
	return out, len(out) > 0
}
