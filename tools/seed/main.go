// Command seed makes a database as a desktop and server that has run for a
// while has one: for benchmarks, pictures and tests of the interfaces. The same
// numbers make the same records.
//
//	go run ./tools/seed -o DIR -connections 100000 -days 30
//	snitch tui --state DIR
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"snitch/tools/seed/record"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	flags := flag.NewFlagSet("seed", flag.ContinueOnError)
	dir := flags.String("o", "", "state `directory` to make; it must not have a database")
	n := flags.Int("connections", 100_000, "how many")
	days := flags.Int("days", 30, "over how many days")
	seed := flags.Uint64("seed", 1, "other numbers make other records")
	end := flags.String("end", "", "`time` of the last one (RFC 3339); now if it is not given")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	at := time.Now()
	var err error
	if *end != "" {
		at, err = time.Parse(time.RFC3339, *end)
	}
	if *dir == "" {
		err = errors.Join(err, errors.New("no directory: say -o DIR"))
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		err = record.Make(ctx, record.Config{Dir: *dir, Connections: *n, Days: *days, Seed: *seed, End: at, Progress: func(done int) {
			fmt.Fprintf(os.Stderr, "\r%d of %d connections", done, *n)
		}})
		fmt.Fprintln(os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		return 1
	}
	return 0
}
