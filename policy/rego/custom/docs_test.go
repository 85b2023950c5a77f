package custom

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/format"

	"snitch/policy/rule"
)

// TestDocs compiles and formats the modules of docs/rego.md, runs its tests and
// looks for what it does not name.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../../docs/rego.md")
	if err != nil {
		t.Fatal(err)
	}
	var modules []rule.Module
	for _, block := range regexp.MustCompile("(?s)```rego\n(.*?)```").FindAllSubmatch(text, -1) {
		name := strings.TrimPrefix(strings.Fields(string(block[1]))[1], "snitch.custom.")
		modules = append(modules, module(name+".rego", string(block[1])))
		if formatted, err := format.Source(name, block[1]); err != nil || string(formatted) != string(block[1]) {
			t.Errorf("%s is not formatted: %v\n%s", name, err, formatted)
		}
	}
	ads := rule.NewList("ads", []rule.Host{{Kind: rule.HostName, Name: "x.example"}})
	p := compile(t, modules, ads)
	if got := strings.Join(p.Packages(), " "); got != "lists_example mail" {
		t.Errorf("packages %s", got)
	}
	results, err := Test(t.Context(), modules, listMap([]*rule.List{ads}), TestOptions{})
	if err != nil || len(results) != 3 {
		t.Fatalf("%v, %v", results, err)
	}
	for _, r := range results {
		if !r.Passed {
			t.Errorf("%s: %s", r.Name, r.Message)
		}
	}
	_, list, _ := strings.Cut(string(text), "## Which functions")
	list, _, _ = strings.Cut(list, "## Tests")
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(" ,\n`", r) }) {
		words[w] = true
	}
	operators := " assign eq equal neq lt lte gt gte plus minus mul div rem and or "
	for _, name := range allowed {
		if !words[name] && !strings.HasPrefix(name, "internal.") && !strings.Contains(operators, " "+name+" ") {
			t.Errorf("docs/rego.md does not name %s", name)
		}
	}
}
