package query

import "strings"

// glob is a pattern over bytes: "*" stands for any run of bytes, also an empty
// one and also one with slashes or dots; a backslash takes the next byte as it
// is. Everything else stands for itself, case included.
type glob string

// literal returns the only string that g matches, if there is only one.
func (g glob) literal() (string, bool) {
	if !strings.ContainsAny(string(g), `*\`) {
		return string(g), true
	}
	var b strings.Builder
	for i := 0; i < len(g); i++ {
		switch g[i] {
		case '*':
			return "", false
		case '\\':
			if i++; i == len(g) {
				return "", false // the parser does not make such
			}
		}
		b.WriteByte(g[i])
	}
	return b.String(), true
}

// match reports whether all of s fits g.
func (g glob) match(s string) bool {
	i, j := 0, 0        // positions in g and s
	star, from := -1, 0 // behind the last "*", and where its run began
	for i < len(g) || j < len(s) {
		if i < len(g) && g[i] == '*' {
			i++
			star, from = i, j
			continue
		}
		if step, ok := g.one(i, s, j); ok {
			i, j = i+step, j+1
			continue
		}
		if star < 0 || from >= len(s) {
			return false
		}
		from++ // let the last "*" take one byte more
		i, j = star, from
	}
	return true
}

// one matches one literal byte of g at i with s at j and returns how long it
// is in g.
func (g glob) one(i int, s string, j int) (step int, ok bool) {
	if i >= len(g) || j >= len(s) {
		return 0, false
	}
	if g[i] == '\\' && i+1 < len(g) {
		return 2, g[i+1] == s[j]
	}
	return 1, g[i] == s[j]
}

// anyMatch reports whether one of the globs matches s.
func anyMatch(globs []glob, s string) bool {
	for _, g := range globs {
		if g.match(s) {
			return true
		}
	}
	return false
}
