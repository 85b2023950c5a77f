// Package fleet takes rules from where many hosts take theirs: a signed bundle
// over HTTPS or from disk, or a git remote.
//
// The network and git are for helper processes without privileges (Work), which
// the broker starts. What they bring is judged in the core: by its signature, by
// its place after what was used before, by the share of hosts that shall use it,
// and by whether it loads. A Source holds what passed, on disk, so that a host
// starts from it without a network; after a change it can watch for a jump of
// alerts or errors and go back to the set before.
//
// A Source is a policy.Source. It is safe for concurrent use; Watch runs once.
package fleet
