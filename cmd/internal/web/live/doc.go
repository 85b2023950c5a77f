// Package live hands the daemon's feed of connections on to browsers, as
// server-sent events. However many pages listen, the daemon has one reader, and
// none while no page does.
//
// A page gets batches: of what one connection did since the last batch only the
// newest. What does not fit into its bounded queue is dropped, counted, and the
// page is told. Hub is safe for concurrent use.
package live
