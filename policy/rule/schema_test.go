package rule_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"snitch/policy/rego/custom"
	"snitch/policy/rule"
	"snitch/policy/rule/ruletest"
)

func compileSchema(t *testing.T, src []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML document as an editor with a schema sees it: numbers and
// booleans are such, everything else is text.
func asJSON(n *yaml.Node) any {
	switch n.Kind {
	case yaml.DocumentNode:
		return asJSON(n.Content[0])
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = asJSON(n.Content[i+1])
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			out = append(out, asJSON(c))
		}
		return out
	}
	switch n.Tag {
	case "!!int":
		return json.Number(strings.TrimLeft(n.Value[:len(n.Value)-1], "0") + n.Value[len(n.Value)-1:])
	case "!!bool":
		b, _ := strconv.ParseBool(n.Value)
		return b
	case "!!null":
		return nil
	}
	return n.Value
}

func validate(t *testing.T, s *jsonschema.Schema, src []byte) error {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal(src, &n); err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	text, err := json.Marshal(asJSON(&n))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// TestSchemaTakesWhatTheReaderTakes validates every set that can be made, and
// the goldens of the formatter.
func TestSchemaTakesWhatTheReaderTakes(t *testing.T) {
	rules, tests := compileSchema(t, rule.Schema()), compileSchema(t, rule.TestSchema())
	for seed := range uint64(300) {
		src, err := rule.Marshal(ruletest.New(seed).Set(), rule.Comments{})
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, rules, src); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, src)
		}
	}
	ar, err := txtar.ParseFile("testdata/format/format.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range ar.Files {
		schema := rules
		if strings.Contains(f.Name, "_test.yaml") {
			schema = tests
		}
		if err := validate(t, schema, f.Data); err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

// schemaErrors are mistakes that a schema can see, of those in testdata/errors.
var schemaErrors = []string{"unknown-keys.yaml", "missing-keys.yaml", "nulls.yaml", "null-sections.yaml", "wrong-kinds.yaml", "words.yaml",
	"booleans.yaml", "no-version.yaml", "newer-version.yaml", "digests.yaml", "ids.yaml", "empty_test.yaml", "keys_test.yaml"}

// TestSchemaRefusesWhatTheReaderRefuses holds that an editor which knows the
// schema shows the mistakes.
func TestSchemaRefusesWhatTheReaderRefuses(t *testing.T) {
	rules, tests := compileSchema(t, rule.Schema()), compileSchema(t, rule.TestSchema())
	archives, _ := filepath.Glob("testdata/errors/*.txtar")
	found := 0
	for _, name := range archives {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(src).Files {
			if !slices.Contains(schemaErrors, f.Name) {
				continue
			}
			found++
			schema := rules
			if strings.HasSuffix(f.Name, "_test.yaml") {
				schema = tests
			}
			if validate(t, schema, f.Data) == nil {
				t.Errorf("%s: the schema takes it", f.Name)
			}
		}
	}
	if found != len(schemaErrors) {
		t.Errorf("found %d of %d files", found, len(schemaErrors))
	}
}

// TestFactsAreTheInput holds that a case of a test names facts by the key paths
// that custom Rego sees: one schema, not two.
func TestFactsAreTheInput(t *testing.T) {
	type object struct {
		Ref         string            `json:"$ref"`
		Properties  map[string]object `json:"properties"`
		Defs        map[string]object `json:"$defs"`
		Definitions map[string]object `json:"definitions"`
	}
	var input, tests object
	if err := errors.Join(json.Unmarshal(custom.Schema, &input), json.Unmarshal(rule.TestSchema(), &tests)); err != nil {
		t.Fatal(err)
	}
	part := func(name string) map[string]object {
		o := input.Properties[name]
		if ref, ok := strings.CutPrefix(o.Ref, "#/definitions/"); ok {
			o = input.Definitions[ref]
		}
		return o.Properties
	}
	for where, keys := range map[string][2]map[string]object{
		"process": {tests.Defs["subject"].Properties, part("process")},
		"to":      {tests.Defs["end"].Properties, part("to")},
		"when":    {tests.Defs["when"].Properties, input.Properties},
	} {
		if len(keys[0]) < 4 {
			t.Errorf("%s: only %d keys found", where, len(keys[0]))
		}
		for key := range keys[0] {
			if _, ok := keys[1][key]; !ok {
				t.Errorf("%s.%s is a fact of tests that custom Rego does not see", where, key)
			}
		}
	}
}
