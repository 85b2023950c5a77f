// Package broker is the one process that starts other processes.
//
// The core answers the kernel and must never fork or exec: between vfork and
// exec a Go program holds what the answer needs. So the core's first act is to
// start the broker (Start), the same binary over a socket pair, and then to
// seal itself (Seal): from there on the kernel refuses it execve and fork, and to
// give up what it needed to attach only (Confine).
//
// The broker keeps three capabilities, SETUID, SETGID and KILL, has
// no_new_privs, and starts helpers of a fixed list of kinds; nobody can ask it
// for a command. A helper is again the same binary, as an unprivileged user,
// without capabilities, groups or environment, bounded by resource limits, and
// talks to the core over one descriptor that the core passed along. The user is
// the one of Config, and for what must happen on a person's desktop that
// person, who has to be logged in: the broker looks for itself. The end of
// the socket ends the broker, and the broker's end ends its helpers.
//
// Start, Seal and Client belong to the core; Serve is the broker; Helper is the
// beginning of a helper. Client is safe for concurrent use.
package broker
