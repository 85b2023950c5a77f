// Command traffic makes the network traffic that the scenario suite expects to
// find in the log of snitch. Each generator moves an exact number of bytes in
// one named way, checks the content of what it receives, and prints what its
// system calls returned as one JSON line (package report). It needs nothing of
// the system but a kernel, so that it runs in a bare virtual machine.
//
//	traffic NAME [flags]
//
// `traffic list` prints the names. Sockets are blocking and used by plain
// system calls: the Go network poller would add reads that find nothing.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// generator is one way of making traffic.
type generator struct {
	name string
	help string
	run  func(args []string) error
}

func main() { os.Exit(run(arguments(os.Args), os.Stderr)) }

// arguments lets a copy of this program be an interpreter by its name, as a
// script's explicit interpreter is one: `python3 script.py`.
func arguments(argv []string) []string {
	if strings.HasPrefix(filepath.Base(argv[0]), "python") {
		return append([]string{"interpret"}, argv[1:]...)
	}
	return argv[1:]
}

func run(args []string, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "list" {
		for _, g := range generators() {
			fmt.Fprintf(stderr, "%-16s %s\n", g.name, g.help)
		}
		return 2
	}
	if err := dispatch(args); err != nil {
		fmt.Fprintf(stderr, "traffic %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

// flags makes a flag set whose errors end up in the generator's error.
func flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

func generators() []generator {
	return slices.Concat(streamGenerators(), datagramGenerators(), rawGenerators(), failureGenerators(), processGenerators(), identityGenerators(), speedGenerators())
}
