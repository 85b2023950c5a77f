// Package table matches rules natively: it is the second opinion beside OPA,
// and the compiler of what the kernel looks up.
//
// Three things are made of one rule.Set, and all must agree with OPA. Compile
// makes a Table, an index over the rules that answers the same Votes as OPA
// does. Its Clauses say which conditions of a rule hold and which do not, which
// is what explanations are made of. NewKernel makes the Kernel, and of it
// Classes: classes of subjects and, for each, the verdicts of its destinations
// as entries of longest-prefix-match tries, with Ask wherever a rule needs
// something that the kernel does not know. Residuals names such rules. See
// docs/tables.md.
//
// Terms. A condition is one key of a match ("process.exe", "to.port"). It holds,
// fails, or is absent: the fact that it is about is not known. A subject is a
// process with its ancestors.
package table
