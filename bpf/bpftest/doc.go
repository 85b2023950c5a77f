// Package bpftest is what the privileged tests of snitch stand on: network
// namespaces joined by a veth pair with a real peer behind it, cgroups of
// their own, processes started straight into both, features of the running
// kernel with a name each, and checks that nothing stays behind.
//
// It is for tests only. Everything here needs root and says so by failing:
// a test skips only when a named kernel feature is missing (see Need), and
// where CI=true or SNITCH_CI=1 is set also that must be explained by the
// kernel's version or configuration, or the test fails.
//
// Functions that take a testing.TB register their own clean-up.
package bpftest
