// Package explain says why a decision is what it is: the winner and what else
// matched, the rules that nearly did, and the smallest change that would have
// made it another.
//
// Every claim is one that can be tried: a near miss carries the one change of a
// fact with which the rule matches, a Flip the changes with which the action is
// another, a Removal the rule without which it is. Package table says what
// matches; nothing is guessed here.
//
// Terms. A fact key is what one change changes: a key of the rule files, where
// a host is two facts, "to.addr" and "to.name". Custom modules are taken as
// they voted: what they would say of other facts is not known.
package explain
