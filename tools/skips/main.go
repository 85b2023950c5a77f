// Command skips reads the output of `go test -json` on standard input, prints
// what `go test` would, and then every test that was skipped, with its reason.
// In CI (CI=true) a skip that is not listed in the file given by -expect fails
// the run: a test that silently stopped running proves nothing.
//
// A line of the file is PACKAGE TEST, or PACKAGE TEST/SUBTEST; # begins a
// comment. "*" at the end of TEST stands for the rest of the name.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is a line of test2json (go doc test2json).
type event struct {
	Action, Package, Test, Output string
}

type key struct{ pkg, test string }

func main() {
	expect := flag.String("expect", "", "file of expected skips")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *expect, os.Getenv("CI") == "true"); err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, expect string, ci bool) error {
	expected, err := readExpected(expect)
	if err != nil {
		return err
	}
	output := map[key][]string{}
	skipped, failed := map[key]string{}, false
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text()) // of the build, not of a test
			continue
		}
		k := key{e.Package, e.Test}
		switch e.Action {
		case "output", "build-output":
			if e.Test == "" {
				fmt.Fprint(out, e.Output)
			} else {
				output[k] = append(output[k], e.Output)
			}
		case "pass":
			delete(output, k)
		case "skip":
			if e.Test != "" {
				skipped[k] = reason(output[k])
			}
			delete(output, k)
		case "fail", "build-fail":
			failed = true
			fmt.Fprint(out, strings.Join(output[k], ""))
			delete(output, k)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read test output: %w", err)
	}
	for _, lines := range output { // of tests that never ended
		fmt.Fprint(out, strings.Join(lines, ""))
	}
	surprise := report(out, skipped, expected)
	switch {
	case failed:
		return errors.New("tests failed")
	case len(output) > 0:
		return errors.New("tests did not end")
	case surprise > 0 && ci:
		return fmt.Errorf("%d tests were skipped that should run here; if that is right, list them in %s", surprise, expect)
	}
	return nil
}

// report lists the skips and returns how many were not expected.
func report(out io.Writer, skipped map[key]string, expected []key) (surprise int) {
	var lines []string
	for k, why := range skipped {
		mark := "expected"
		if !slices.ContainsFunc(expected, func(e key) bool { return e.matches(k) }) {
			mark = "UNEXPECTED"
			surprise++
		}
		lines = append(lines, fmt.Sprintf("skipped (%s): %s %s: %s\n", mark, k.pkg, k.test, why))
	}
	slices.Sort(lines)
	fmt.Fprint(out, strings.Join(lines, ""))
	return surprise
}

func (e key) matches(k key) bool {
	prefix, open := strings.CutSuffix(e.test, "*")
	return e.pkg == k.pkg && (e.test == k.test || open && strings.HasPrefix(k.test, prefix))
}

// reason is what the test said when it skipped.
func reason(output []string) string {
	for _, line := range output {
		line = strings.TrimSpace(line)
		if _, said, ok := strings.Cut(line, ".go:"); ok {
			if _, said, ok = strings.Cut(said, ": "); ok {
				return said
			}
		}
	}
	return "no reason given"
}

func readExpected(name string) ([]key, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read expected skips: %w", err)
	}
	var out []key
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch len(fields) {
		case 0:
		case 2:
			out = append(out, key{fields[0], fields[1]})
		default:
			return nil, fmt.Errorf("%s:%d: want PACKAGE TEST, got %q", name, i+1, line)
		}
	}
	return out, nil
}
