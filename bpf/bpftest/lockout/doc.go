// Package lockout has snitch deny a whole machine everything and finds the ways
// out of it. Its tests attach programs to the root of the cgroups and cut the
// machine off, so they are built for virtual machines only (build tag vm; see
// package vm) and are of no use elsewhere.
package lockout
