package lint

import "snitch/policy/rule"

// token is one element of a pattern: a character, or a run of them.
type token struct {
	char byte
	star rune // 0: char; '*': characters without a slash; '#': any characters
}

func tokens(p rule.Pattern) []token {
	var out []token
	for i := 0; i < len(p.Text); i++ {
		if p.Text[i] != '*' {
			out = append(out, token{char: p.Text[i]})
			continue
		}
		star := '*'
		for i+1 < len(p.Text) && p.Text[i+1] == '*' {
			star, i = '#', i+1
		}
		if p.Kind != rule.PathPattern {
			star = '#'
		}
		out = append(out, token{star: star})
	}
	return out
}

// globInside reports whether every text that p matches is matched by q. It
// matches p itself, its stars as symbols, against q: sound, and complete but
// for patterns that only together cover a star.
func globInside(p, q rule.Pattern) bool {
	if p.Literal() {
		return q.Match(p.Text)
	}
	if p.Kind == rule.MarkedPattern && p.Mark() != q.Mark() {
		return false
	}
	a, b := tokens(p), tokens(q)
	// inside[j]: the rest of a is inside the rest of b from j.
	inside := make([]bool, len(b)+1)
	inside[len(b)] = true
	for j := len(b) - 1; j >= 0; j-- {
		inside[j] = b[j].star != 0 && inside[j+1]
	}
	for i := len(a) - 1; i >= 0; i-- {
		row := make([]bool, len(b)+1)
		for j := len(b) - 1; j >= 0; j-- {
			switch {
			case b[j].star == 0:
				row[j] = a[i] == b[j] && inside[j+1]
			default:
				row[j] = row[j+1] || b[j].swallows(a[i]) && inside[j]
			}
		}
		inside = row
	}
	return inside[0]
}

// swallows reports whether a star stands for all that one element stands for.
func (t token) swallows(o token) bool {
	if t.star == '#' {
		return true
	}
	return o.star == '*' || o.star == 0 && o.char != '/'
}

// globsMeet reports whether some text may match both. It errs towards yes: of
// two patterns with stars, only what stands before the first ones is compared.
func globsMeet(p, q rule.Pattern) bool {
	switch {
	case p.Literal():
		return q.Match(p.Text)
	case q.Literal():
		return p.Match(q.Text)
	}
	for i := 0; i < min(len(p.Text), len(q.Text)); i++ {
		if p.Text[i] == '*' || q.Text[i] == '*' {
			return true
		}
		if p.Text[i] != q.Text[i] {
			return false
		}
	}
	return true
}
