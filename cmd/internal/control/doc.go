// Package control is the daemon's control socket: HTTP/1.1 over a unix socket
// in the state directory, for root, the daemon's own user and one group.
//
// What can be asked has versioned paths, all of which docs/api.md describes: a
// test compares it with the code. Every peer is asked for its credentials;
// requests, connections and what waits for a slow client are bounded. A client
// that does not keep up loses messages, is told how many, and they are counted;
// the daemon never waits for it.
//
// Hub, Server and Client are safe for concurrent use.
package control
