// Package commit reads rules from git without trusting who fetched them.
//
// A process without privileges runs git and hands over raw objects. Here their
// ids are computed anew, from the commit through its trees to every file, and
// the signature of the commit is verified: whatever git, the fetcher or the
// server did, what comes out is what a key that may publish has signed. Nothing
// here starts a process or touches a disk.
//
// Signatures of OpenSSH keys are verified here. What verifies others (OpenPGP)
// is a Verifier of the caller's.
package commit
