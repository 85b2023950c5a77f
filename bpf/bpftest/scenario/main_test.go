// Package scenario proves snitch from the outside: real programs make real
// traffic in network namespaces, the daemon watches, and its log must name
// each program and count each byte. Nothing here imports the product; the
// suite needs a binary (SNITCH_BIN) and the generators (SNITCH_TRAFFIC), or
// builds both.
package scenario

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"snitch/bpf/bpftest"
)

var (
	tableOut = flag.String("table", "", "file to write the outcome of each scenario to, as JSON")
	only     = flag.String("only", "", "run scenarios whose name matches this regular expression")

	newPrograms = flag.Int("new-programs", 200, "how many programs TestFirstConnections makes")
)

// tools are the binaries under test and their workshop.
type tools struct {
	snitch, traffic string
}

// build finds the binaries in the environment or builds them into dir.
func build(tb testing.TB, dir string) tools {
	tb.Helper()
	return tools{
		snitch:  binary(tb, "SNITCH_BIN", dir, "snitch", "snitch/cmd/snitch"),
		traffic: trafficBinary(tb, dir),
	}
}

func trafficBinary(tb testing.TB, dir string) string {
	tb.Helper()
	return binary(tb, "SNITCH_TRAFFIC", dir, "traffic", "snitch/bpf/bpftest/traffic")
}

func binary(tb testing.TB, variable, dir, name, pkg string) string {
	tb.Helper()
	if path := os.Getenv(variable); path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			tb.Fatal(err)
		}
		return abs
	}
	out := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", pkg, err, b)
	}
	return out
}

// patience stretches time limits on slow machines.
func patience(d time.Duration) time.Duration { return bpftest.Patience(d) }

// few is how many of n repetitions a slow machine is asked for.
func few(n int) int { return max(1, n/bpftest.Slowness()) }

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "scenario: these tests make namespaces and load programs: run them as root")
		os.Exit(1)
	}
	os.Exit(m.Run())
}
