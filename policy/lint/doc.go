// Package lint finds rules that cannot be what their author meant: rules that
// never match, rules that another one always outvotes, exceptions that except
// nothing, allows that open every allowlist, and conditions that the kernel's
// tables cannot hold.
//
// It compares rules as sets of connections. Inclusion is decided part by part
// and errs on one side only: "inside" is said when it is certain, so that a rule
// that is called dead or redundant can be removed without any decision changing.
// What is not said may still be true.
//
// Terms. A rule is dead when nothing can match it. It is redundant when a rule
// with the same action matches all that it matches, and shadowed when a stricter
// one does. Check holds no state and may be called by several goroutines.
package lint
