package rule

import (
	"encoding/json"
	"fmt"
	"maps"
)

const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// Schema is the JSON Schema (2020-12) of a file of rules. It comes from the
// tables that the reader reads by. What no schema can say (that an address is
// one, that a range is not empty, that an id is unique) only the reader checks.
func Schema() []byte {
	g := language()
	root := describe(&g.file, g.file.what)
	root["$id"] = "urn:snitch:schema:rules:1"
	root["title"] = "snitch rules"
	root["required"] = []string{"version"}
	root["$defs"] = jsonSchema{
		"list": describe(&g.list, g.list.what), "confine": describe(&g.confine, g.confine.what), "rule": describe(&g.rule, g.rule.what),
		"confine_except": describe(&g.subjects, g.subjects.what), "match": describe(&g.match, g.match.what),
		"process": describe(&g.process, "conditions on a process; all must hold"), "endpoint": describe(&g.endpoint, "conditions on one end; all must hold"),
	}
	return finishSchema(root)
}

// TestSchema is the JSON Schema of a file of tests (*_test.yaml).
func TestSchema() []byte {
	g := &language().tests
	root := describe(&g.file, g.file.what)
	root["$id"] = "urn:snitch:schema:tests:1"
	root["title"] = "snitch tests"
	root["required"] = []string{"version", "cases"}
	root["$defs"] = jsonSchema{
		"case": describe(&g.testCase, g.testCase.what), "when": describe(&g.when, "the facts of one connection"),
		"expect": describe(&g.expect, "what the decision must be"), "subject": describe(&g.subject, "what is known of a process"),
		"end": describe(&g.end, "what is known of one end"),
	}
	return finishSchema(root)
}

// describe is the schema of the mapping that a table reads.
func describe[T any](t *table[T], what string) jsonSchema {
	properties, required := jsonSchema{}, []string{}
	for _, k := range t.keys {
		p := maps.Clone(k.schema)
		p["description"] = k.doc
		properties[k.name] = p
		if k.required {
			required = append(required, k.name)
		}
	}
	out := jsonSchema{"type": "object", "description": what, "properties": properties, "additionalProperties": false, "minProperties": 1}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func finishSchema(root jsonSchema) []byte {
	root["$schema"] = schemaDialect
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil { // maps of strings, numbers and lists: there is nothing that could fail
		return fmt.Appendf(nil, "%v", err)
	}
	return append(out, '\n')
}
