// Command snitch shows, records and judges which program talks to whom.
//
// It is the only wiring of the module: each command stands in a file of its
// own (newX builds it, XOptions are its flags, runX does it), wire.go joins the
// rooms to a daemon. Exit codes are 0 done, 1 the answer is "no", 2 wrong use
// or a configuration that does not load, 3 the system lacks something.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// secondSignal is how long after the first signal another means impatience.
const secondSignal = time.Second

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if code, done := runHidden(args, stderr); done {
		return code
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal finds the default handler again and ends the wait. Not at
	// once: timeout(1) and some service managers send the first one twice, to
	// the process and to its group.
	context.AfterFunc(ctx, func() { time.AfterFunc(secondSignal, stop) })
	root := newRoot(stdio{in: stdin, out: stdout, err: stderr})
	root.SetArgs(args)
	return conclude(stderr, root.ExecuteContext(ctx))
}

// stdio are the streams of one command.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}
