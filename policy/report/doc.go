// Package report writes what the commands about rules found, for people and for
// the machines of a CI: one line a finding, JSON, SARIF 2.1.0, and the workflow
// commands of GitHub.
//
// A Finding says something about one place of one file. Its texts come from rule
// files, which whoever opens a pull request may have written: every writer
// escapes them in the way of its format, and what is meant for a terminal holds
// no character that moves one.
//
// Writers hold no state; each call writes one whole document and returns the
// first error of the io.Writer.
package report
