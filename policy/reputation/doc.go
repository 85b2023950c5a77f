// Package reputation asks VirusTotal what it knows of the programs that use the
// network, by their SHA-256, and, when that is wanted, gives it those that it
// does not know.
//
// Nothing waits for it: a Service is told of programs and tells later what it
// learned. It asks one question at a time, no faster than the interval that the
// quota of the key allows, and rests after refusals. What it learned is kept in a
// file, so that a restart asks nothing twice.
//
// The daemon itself speaks to no server. Helper is the work of a process without
// privileges, which holds the key, pins the server, follows no redirect and
// bounds all that it reads.
//
// Terms. A verdict is what the engines of VirusTotal say together. To upload is
// to give the file itself away to VirusTotal, and to its customers.
package reputation
