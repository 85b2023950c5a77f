// Package record makes a record of connections that looks like a real one, with
// the store that the daemon writes with. world.go says which programs there are
// and whom they talk to, day.go when, traffic.go what a connection is made of,
// make.go how all of it is written.
package record
