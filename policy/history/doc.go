// Package history decides what a machine did again: by the rules that were in
// force (replay), by other ones (a candidate, or two against each other), and
// the other way round, as rules that would have allowed it (learn).
//
// A Source hands out recorded connections, as facts and as the decision that
// was made of them. Most of a million rows are alike: facts are made once for
// each distinct key, decisions once for each distinct set of facts that the
// rules read, so that OPA decides some thousand times for millions of rows.
//
// Terms. The recorded decision is what the rules said then (would), whatever
// the daemon's mode made of it. A row is undecidable when its facts or its
// rules are not what they were when it was decided; every such row is counted
// under a named cause.
//
// Nothing here reads a database or a file; memory does not grow with the
// number of rows.
package history
