// Package policy is the engine: it turns what the monitor saw into decisions.
//
// An Engine holds one Policy at a time (a rule set compiled for OPA) and
// replaces it whole. Decide makes facts of a connection, asks the cache, then
// OPA, and combines the votes; nothing in it waits for a disk, a name server or
// another process longer than the budget that the caller gives. What was not
// decided in that budget is undecided, and decided by the next call.
//
// An error of the evaluator is never an allow: it denies where the rules could
// deny this process, and alerts elsewhere.
//
// The Manager brings policies: it reads a source, compiles, keeps the last good
// one on disk and goes on with what it has when a new one does not load.
package policy
