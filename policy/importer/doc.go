// Package importer reads rules of OpenSnitch (one JSON file a rule) and of
// Little Snitch (.lsrules rule groups), by their published formats, and makes
// rules of them.
//
// Its promise: nothing becomes looser by import in silence. A rule with a
// condition that cannot be said here is not imported: a condition left out would
// allow, or deny, more than was meant. A rule that is imported with a difference
// carries a comment with each. Both stand in the output, beside the rules.
//
// The files are hostile: their size, depth and number of rules and items are
// bounded, and no path that they name is ever opened.
package importer
