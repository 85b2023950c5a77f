// Package features asks the running kernel what it can do for snitch, by doing
// it: a probe loads a small program, attaches it, triggers it and looks whether
// it ran. A kernel's version proves nothing (distributions backport, lock down
// and leave out), and a program that loads may still never run.
//
// An answer is yes, no or unknown, with the reason and what follows from it
// for the product. Only conclusive answers are remembered.
//
// Probes touch nothing of the host: what must be attached to a cgroup is
// attached to a private one that is removed again, traffic stays on loopback
// sockets of the probe's own, and no program ever denies anything. They need
// root, and everything here is safe for concurrent use.
package features
