// Package control is the daemon's control socket: HTTP/1.1 over a unix socket
// in the state directory, for root, the daemon's own user and one group.
//
// What can be asked has versioned paths: GET /v1/status answers with one JSON
// object (Status), GET /v1/live with JSON lines (Message) until the client
// leaves, and POST /v1/flush when what was seen so far is in the database. POST
// /v1/reload and /v1/alerts change what the group may change, and POST
// /v1/enforce what root alone may. Every peer is asked for its credentials; requests, connections and
// what waits for a slow client are bounded. A client that does not keep up
// loses messages, is told how many, and they are counted; the daemon never
// waits for it.
//
// Hub, Server and Client are safe for concurrent use.
package control
