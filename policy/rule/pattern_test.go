package rule

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// reference matches by trying every way, as the meaning of a pattern says.
func reference(p, s string, kind PatternKind) bool {
	if p == "" {
		return s == ""
	}
	if p[0] != '*' {
		return s != "" && p[0] == s[0] && reference(p[1:], s[1:], kind)
	}
	across := kind == WordPattern || strings.HasPrefix(p, "**")
	rest := p[1:]
	if across {
		rest = strings.TrimLeft(p, "*")
	}
	for i := 0; ; i++ {
		if reference(rest, s[i:], kind) {
			return true
		}
		if i == len(s) || !across && s[i] == '/' {
			return false
		}
	}
}

// TestPatternMatchesReference holds the fast matcher against the slow one.
func TestPatternMatchesReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]PatternKind{WordPattern, PathPattern}).Draw(t, "kind")
		text := rapid.StringOfN(rapid.SampledFrom([]rune("ab/**")), 1, 10, -1).Draw(t, "pattern")
		s := rapid.StringOfN(rapid.SampledFrom([]rune("ab/")), 1, 12, -1).Draw(t, "text")
		p := Pattern{text, kind}
		if got, want := p.Match(s), reference(text, s, kind); got != want {
			t.Fatalf("%q matches %q: got %v, want %v (kind %d)", text, s, got, want, kind)
		}
	})
}

// TestPatternExhaustive tries every short pattern on every short text.
func TestPatternExhaustive(t *testing.T) {
	patterns, texts := words("a/*", 6), words("a/", 6)
	for _, kind := range []PatternKind{WordPattern, PathPattern} {
		for _, p := range patterns {
			for _, s := range texts {
				if got, want := (Pattern{p, kind}).Match(s), reference(p, s, kind); got != want {
					t.Fatalf("%q matches %q: got %v, want %v (kind %d)", p, s, got, want, kind)
				}
			}
		}
	}
}

// words is every word of an alphabet of 1 to n letters.
func words(alphabet string, n int) []string {
	var out []string
	last := []string{""}
	for range n {
		var next []string
		for _, w := range last {
			for _, c := range alphabet {
				next = append(next, w+string(c))
			}
		}
		out, last = append(out, next...), next
	}
	return out
}

// TestPatternIsNotExponential would not end if stars were tried in every way.
func TestPatternIsNotExponential(t *testing.T) {
	p := Pattern{strings.Repeat("a*", 2000) + "b", WordPattern}
	if p.Match(strings.Repeat("a", 4096)) {
		t.Error("matched a text without its last letter")
	}
}

// TestMarkedPattern: a star stands for part of a name, not for what the fact
// says of the name.
func TestMarkedPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "curl", true}, {"*", None, false}, {"*", "modified:curl", false}, {"*", "unverified:curl", false},
		{"c*", "curl", true}, {"n*", None, false}, {None, None, true}, {"no*", "node", true},
		{"modified:*", "modified:curl", true}, {"modified:*", "curl", false}, {"modified:*", "unverified:curl", false},
		{"mod*", "modified:curl", false}, {"mod*", "modemmanager", true}, {"*:curl", "modified:curl", false},
		{"modified:curl", "modified:curl", true},
	} {
		if got := (Pattern{c.pattern, MarkedPattern}).Match(c.text); got != c.want {
			t.Errorf("%q matches %q: got %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}
