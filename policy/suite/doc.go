// Package suite runs the tests that stand beside the rules: the cases of
// *_test.yaml against the decisions of OPA, and the tests of custom Rego. It says
// what failed and why, which rules the cases cover, and, by mutation, which
// mistakes in the rules the cases would notice.
//
// Terms. A case states facts and what is expected of their decision. A rule is
// matched when it takes part in the decision of a case, and decides when it is
// the winner; a rule that never votes (mode audit) is covered by a match. A
// mutant is the set with one small mistake put into one rule; it is killed when
// a case that passes on the set fails on the mutant, else it survives.
//
// Run is safe for concurrent use; the reports that it returns are values.
package suite
