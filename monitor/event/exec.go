package event

import "time"

// ExecSeen is one row of the every-executable record: a process image that
// began to run, whether it ever connects or not.
type ExecSeen struct {
	Time    time.Time
	Process *Process // never nil; immutable
}
