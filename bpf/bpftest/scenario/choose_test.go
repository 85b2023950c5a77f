package scenario

import (
	"regexp"
	"testing"
)

// chosen are the scenarios that -only selects, each name used once.
func chosen(t *testing.T) []scenario {
	t.Helper()
	want, err := regexp.Compile(*only)
	if err != nil {
		t.Fatalf("flag -only: %v", err)
	}
	seen := make(map[string]bool)
	var all []scenario
	known := tierShortfalls()
	for _, s := range scenarios() {
		s.shortfalls = append(s.shortfalls, known[s.name]...)
		if seen[s.name] {
			t.Fatalf("two scenarios are called %s", s.name)
		}
		seen[s.name] = true
		if want.MatchString(s.name) {
			all = append(all, s)
		}
	}
	return all
}
