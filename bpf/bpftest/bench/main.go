// Command bench measures what snitch costs: pairs of runs of one workload,
// with the daemon attached and without, in turn and alternating in order, so
// that what changes on the machine meanwhile hits both. It prints a table and
// keeps it in a file (docs/benchmarks.md).
//
//	go run ./bpf/bpftest/bench [-o FILE] [-policy | -enforce]
//
// The programs are attached to a cgroup of the benchmark's own, which holds
// both ends of the loopback workloads and the near end of the others. What is
// attached to the whole machine (tp_btf) runs for both. Root only, but for
// -policy. -policy and -enforce measure that part alone and keep the rest of
// the file.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"snitch/bpf/bpftest"
)

// options are the command line.
type options struct {
	out    string
	pairs  int
	length time.Duration
	snitch string
	rules  bool // -policy
	denies bool // -enforce
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.out, "o", "", "file for the table")
	f.IntVar(&o.pairs, "pairs", 7, "pairs of runs")
	f.DurationVar(&o.length, "for", 400*time.Millisecond, "length of one run")
	f.StringVar(&o.snitch, "snitch", "", "binary to measure; built when empty")
	f.BoolVar(&o.rules, "policy", false, "measure decisions, reloads and history only")
	f.BoolVar(&o.denies, "enforce", false, "measure enforcement only")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.rules {
		return alone(&o, policyTitle, (&bench{options: &o}).policy)
	}
	if os.Geteuid() != 0 {
		return errors.New("namespaces and programs need root: sudo make bench")
	}
	b, err := open(&o)
	if err != nil {
		return err
	}
	if o.denies {
		err = alone(&o, enforceTitle, b.enforce)
	} else {
		err = b.measure()
	}
	return errors.Join(err, b.close())
}

// bench is the place where everything is measured.
type bench struct {
	*options
	dir      string
	traffic  string
	programs string // directory of those that workloads make
	pair     *bpftest.Pair
	cgroup   *bpftest.Cgroup
	runs     int // state directories so far
}

func (b *bench) measure() error {
	var doc document
	doc.head()
	stages := []struct {
		name string
		run  func(*document) error
	}{
		{"paired runs", b.paired}, {"programs", b.timed}, {"load", b.load}, {"memory", b.memory}, {"enforcement", b.enforce}, {"policy", b.policy}, {"parts", b.parts},
	}
	for _, s := range stages {
		fmt.Fprintf(os.Stderr, "bench: %s\n", s.name)
		if err := s.run(&doc); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
	}
	fmt.Print(doc.String())
	if b.out == "" {
		return nil
	}
	if err := os.WriteFile(b.out, []byte(doc.String()), 0o644); err != nil {
		return fmt.Errorf("keep table: %w", err)
	}
	return nil
}

// alone measures one section and puts it in its place.
func alone(o *options, title string, stage func(*document) error) error {
	var doc document
	if err := stage(&doc); err != nil {
		return fmt.Errorf("measure: %w", err)
	}
	fmt.Print(doc.String())
	if o.out == "" {
		return nil
	}
	text, err := os.ReadFile(o.out)
	if err == nil {
		err = os.WriteFile(o.out, []byte(replaceSection(string(text), title, doc.String())), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep table: %w", err)
	}
	return nil
}

func open(o *options) (*bench, error) {
	dir, err := os.MkdirTemp("", "snitch-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, dir: dir, programs: dir, traffic: filepath.Join(dir, "traffic")}
	if err := build(b.traffic, "snitch/bpf/bpftest/traffic"); err != nil {
		return nil, err
	}
	if b.snitch == "" {
		b.snitch = filepath.Join(dir, "snitch")
		if err := build(b.snitch, "snitch/cmd/snitch"); err != nil {
			return nil, err
		}
	}
	if b.pair, err = bpftest.OpenPair(); err != nil {
		return nil, err
	}
	b.cgroup, err = bpftest.OpenCgroup()
	return b, err
}

func build(out, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, strings.TrimSpace(string(text)))
	}
	return nil
}

func (b *bench) close() error {
	return errors.Join(b.cgroup.Close(), b.pair.Close(), os.RemoveAll(b.dir))
}

// state is the directory of one run.
func (b *bench) state(run int) string { return filepath.Join(b.dir, fmt.Sprintf("state-%d", run)) }

// attached runs f while a daemon with a new state directory runs.
func (b *bench) attached(f func(d *bpftest.Daemon) error, flags ...string) error {
	b.runs++
	d, err := bpftest.StartDaemon(b.snitch, b.state(b.runs), 2*time.Minute, append([]string{"--cgroup", b.cgroup.Dir()}, flags...)...)
	if err != nil {
		return err
	}
	if err := f(d); err != nil {
		return errors.Join(err, d.Kill())
	}
	if _, err := d.Stop(30 * time.Second); err != nil {
		return &stopError{err}
	}
	return nil
}

// stopError is a daemon that measured well and did not end well.
type stopError struct{ error }

func (e *stopError) Unwrap() error { return e.error }
