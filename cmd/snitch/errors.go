package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"snitch/cmd/internal/text"
)

// Exit codes; tests and scripts outside the project rely on them.
const (
	exitDone  = 0
	exitNo    = 1 // the answer is "no", or the work failed
	exitUsage = 2 // wrong use, or a configuration that does not load
	exitLacks = 3 // the system lacks something, which the error names
)

// problem is an error for a person: what happened, what to do, and what to
// tell the shell.
type problem struct {
	err  error
	hint string // an imperative sentence without a full stop, "" for none
	code int
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

// errorWithHint adds what to do next to err.
func errorWithHint(err error, hint string) error {
	return &problem{err: err, hint: hint, code: exitNo}
}

// usageError is wrong use.
func usageError(err error, hint string) error {
	return &problem{err: err, hint: hint, code: exitUsage}
}

// lacksError says what the system does not have.
func lacksError(err error, hint string) error {
	return &problem{err: err, hint: hint, code: exitLacks}
}

// errAnswerNo ends a command whose output already said "no".
var errAnswerNo = errors.New("the answer is no")

// conclude shows err to a person and maps it to an exit code, once.
func conclude(stderr io.Writer, err error) int {
	var p *problem
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errAnswerNo):
		return exitNo
	case errors.As(err, &p):
		show(stderr, err.Error(), p.hint)
		return p.code
	}
	show(stderr, err.Error(), "")
	return exitNo
}

// show writes an error, which may name hostile paths, and its hint. An error of
// many lines (a configuration file with many faults) keeps them.
func show(w io.Writer, message, hint string) {
	lines := strings.Split(message, "\n")
	for i := range lines {
		lines[i] = text.Clean(lines[i])
	}
	fmt.Fprintf(w, "snitch: %s\n", strings.Join(lines, "\n        "))
	if hint != "" {
		fmt.Fprintf(w, "hint: %s\n", text.Clean(hint))
	}
}
