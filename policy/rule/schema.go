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

// InputSchema is the JSON Schema of the input that custom Rego sees: the facts
// as Input gives them, with what the YAML rules made of them. It holds no
// references, so that a compiler which checks types needs to follow none.
func InputSchema() []byte {
	g := &language().tests
	subject := facts(&g.subject, "parent", "ancestors")
	process := facts(&g.subject)
	process["properties"].(jsonSchema)["parent"] = subject
	process["properties"].(jsonSchema)["ancestors"] = arrayOf(subject)
	end := facts(&g.end)
	properties := end["properties"].(jsonSchema)
	name := jsonSchema{"type": "string", "description": "the best name of the peer, lower case"}
	properties["domain"] = name
	properties["names"] = arrayOf(jsonSchema{
		"type": "object", "additionalProperties": false,
		"properties": jsonSchema{"domain": name, "source": properties["domain_source"], "trusted": properties["trusted"]},
	})
	properties["scope"] = jsonSchema{"enum": []string{ScopeLoopback.String(), ScopeLAN.String(), ScopeInternet.String()}}
	properties["nets"] = arrayOf(jsonSchema{"type": "string", "description": "networks of the rules that hold the address"})
	properties["lists"] = arrayOf(jsonSchema{"type": "string", "description": "named lists that hold a name or the address"})
	return finishSchema(jsonSchema{
		"$id": "urn:snitch:schema:input:1", "title": "input of custom Rego", "type": "object", "additionalProperties": false,
		"required": []string{"v", "process", "direction"},
		"properties": jsonSchema{
			"v": jsonSchema{"const": inputVersion, "type": "integer"}, "process": process, "from": end, "to": end,
			"direction": jsonSchema{"type": "string", "enum": []string{"out", "in", "listen"}},
			"novelty":   arrayOf(jsonSchema{"type": "string", "enum": noveltyNames[1:]}),
			"matches":   arrayOf(jsonSchema{"type": "string", "description": "ids of the YAML rules that match"}),
			"verdict":   jsonSchema{"type": "string", "enum": []string{"allow", "alert", "deny"}, "description": "what the YAML rules decide"},
		},
	})
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

// facts is describe without the keys that hold mappings, and without a need
// for any: an unknown fact is absent.
func facts[T any](t *table[T], without ...string) jsonSchema {
	out := describe(t, t.what)
	delete(out, "minProperties")
	delete(out, "description")
	properties := out["properties"].(jsonSchema)
	for _, name := range without {
		delete(properties, name)
	}
	for _, p := range properties {
		if s := p.(jsonSchema); s["type"] == nil && s["enum"] != nil {
			s["type"] = "string"
		}
	}
	return out
}

func arrayOf(item jsonSchema) jsonSchema { return jsonSchema{"type": "array", "items": item} }

func finishSchema(root jsonSchema) []byte {
	root["$schema"] = schemaDialect
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil { // maps of strings, numbers and lists: there is nothing that could fail
		return fmt.Appendf(nil, "%v", err)
	}
	return append(out, '\n')
}
