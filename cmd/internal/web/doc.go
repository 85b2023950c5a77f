// Package web is the web interface: it serves the pages (ui) and their data
// (api, live) to whom gate lets pass.
//
// It runs without root. It reads the database, asks the daemon through its
// control socket, and changes nothing but what that lets it: the state of
// alerts. Everything that it answers was written by strangers (names of
// programs, domains, arguments) and is data: JSON, which the pages show as
// text. Requests, their number, their size and their time are bounded.
//
// Server is safe for concurrent use.
package web
