// Package evasion holds no product code: its tests try to send past a deny.
//
// Each attempt is a program of its own, in a cgroup and a network namespace of
// the test's, against the real monitor, the real rules and the real verdicts.
// What got through is counted at the peer, by nftables. Every attempt runs
// twice: where nothing forbids it, and there it must arrive, or it would prove
// nothing; and where the rules deny it. What comes of that is written to
// docs/security.md by `go test ./enforce/evasion -update`, and held against it
// by every other run.
package evasion
