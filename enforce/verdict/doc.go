// Package verdict is the cgroup BPF backend of enforcement: the only writer of
// the kernel's verdict tables.
//
// A Backend holds one desired state at a time. Set compiles the rules to tables
// (policy/table), gives every live process its class in them, and flips: one
// store in the kernel. What the tables cannot tell is asked of a Decider, whose
// answers are written as decisions about one process and destination. What the
// kernel refused goes to a Recorder. After a flip, connections that the new
// rules forbid are destroyed.
//
// Terms. A generation is one policy in the kernel: tables, classes, and the
// numbers of its rules. A subject is a live process. docs/enforcement.md says
// which hooks run and what they cannot do.
package verdict
