// Package rego decides by OPA which rules of a rule.Set match.
//
// The rules become one Rego module, built as an AST: the partial sets
// data.snitch.policy.rules and .confine hold the ids of what matches, and the
// one entry point, data.snitch.policy.decision, holds both. Order of files and
// rules, modes, expiry and which vote wins are no business of Rego's:
// rule.Set.Combine makes the decision of the ids.
//
// What OPA cannot index it would ask of every rule: globs, address prefixes,
// port ranges, names below a name and lists of all these. Such a condition is
// matched in Go, once per fact for all rules, and reaches Rego as the text it
// was written as in a set: "github.com | 10.0.0.0/8" in input.to.hosts. So each
// condition of the generated module is an equality or a membership, and OPA
// looks only at rules that can match.
//
// An *Evaluator is immutable and safe for concurrent use.
package rego
