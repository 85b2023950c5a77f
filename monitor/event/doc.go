// Package event is the vocabulary that the rooms of snitch share: what the
// kernel said (Exec, Fork, Exit, Flow, Payload), what the monitor made of it
// (Process, Connection, Loss) and what policy answered (Decision).
//
// It is a leaf: it imports the standard library only, and no code of it does
// input or output. Values that cross a goroutine are immutable once sent: who
// wants to change a *Process or a Connection copies it first.
//
// Terms. A process is one image of a thread group: it ends at exit or at the
// next exec. An executable is an open file, not a path. Times that come from
// the kernel are nanoseconds of CLOCK_BOOTTIME (they go on through a suspend)
// and are named Boot; time.Time is wall clock. Numbers stored in the database
// (the values of the enums here) are never used for another meaning.
package event
