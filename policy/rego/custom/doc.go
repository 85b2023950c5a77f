// Package custom runs the Rego modules that people put beside their rules.
//
// A package snitch.custom.NAME votes through the partial sets deny, alert and
// allow, whose members are ids or objects {"id", "reason"} (docs/rego.md). It
// sees the facts of one connection as input, whose JSON Schema the compiler
// enforces, and the lists of the rules as data.lists; it has no clock, no
// network, no environment and no chance.
//
// A Program is the compiled packages; Check and `policy test` use it in
// process. The daemon must not be ended by a module that loops or allocates:
// there a worker process runs the program (Serve), bounded in memory, and a
// Pool in the core talks to it over a descriptor in framed messages. A package
// that errs, takes too long or ends its worker is degraded: it has no votes
// for that connection, is named, and is asked again later.
//
// Program and Pool are safe for concurrent use.
package custom
