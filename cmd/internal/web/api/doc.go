// Package api answers the pages of the web interface with JSON: what the
// record tells (monitor/store/query), what the daemon says of itself, and what
// the rules make of both. docs/web.md lists the addresses.
//
// An answer that is no success is {"error": …, "hint": …}. What takes long is
// bounded in time and in how much of it runs at once; a client that leaves ends
// its question. Handler is safe for concurrent use.
package api
