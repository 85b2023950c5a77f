// Package rule holds the rules as data: the strict reader of the YAML files,
// the typed and normalised set that it makes of them, and the facts that a
// decision is made from.
//
// Nothing here decides which rules match: package rego does (with OPA), and
// package table does it a second time without OPA, for the kernel and as the
// second opinion. What both must agree on stands here: what a Match means, and
// how the votes of the matching rules become one decision (Combine).
//
// Terms. A Set is everything that was loaded at once, from any number of
// files; the order of files and rules never matters. A Rule votes allow, alert
// or deny for the connections that its Match describes. A Confine entry names
// subjects that may do only what an allow rule grants. Facts are what is known
// of one connection; what is not known yet is absent, and a condition on an
// absent fact does not match.
//
// A *Set is immutable once Read returned it and may be shared by goroutines.
package rule
