// Package enforce decides whether this host denies: it holds the mode, brings
// it and the policy to a Backend as one desired state, and takes it back when
// nobody confirmed it.
//
// The rooms below it (enforce/verdict, enforce/nft) implement Backend and
// import this package, never the other way round; cmd/snitch joins them.
//
// Terms. The mode is audit (nothing is denied) or enforce. It comes from the
// configuration, which `enforce on` and `off` beat and keep in the state
// directory, which --mode beats for one run. An armed mode is on until a
// deadline by which somebody must confirm it. Fail-open and fail-closed are what
// holds when the daemon is gone or does not answer. Protected are rules that
// this package adds to every set, with ids that begin with "snitch.".
package enforce
