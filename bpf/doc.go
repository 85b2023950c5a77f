// Package bpf is the kernel side of snitch and its loader.
//
// Load attaches every program of a tier, or none. What the programs see comes
// back in three ways: ring records (processes, captured payloads) by Poll;
// flows, as deltas that lose no byte, by Drain; and what could not be kept, by
// DrainOverflow and Losses. Close detaches everything; nothing is pinned.
//
// Terms: a flow is one process on one socket with one peer. A generation is one
// of two kernel maps of flows that take turns; a drained one is never in use.
package bpf
