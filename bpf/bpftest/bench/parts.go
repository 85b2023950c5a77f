package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strings"
)

// parts runs the Go benchmarks of single parts that have no meaning as a pair:
// the drain of a full generation of flows, and the writer of the database.
func (b *bench) parts(doc *document) error {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkPart", "-count", "3", "snitch/bpf/bpftest/bench")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test: %w\n%s", err, out)
	}
	rows := [][]string{{"part", "time", "more"}}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "BenchmarkPart") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(f[0], "BenchmarkPart"), "-")
		rows = append(rows, []string{name, f[2] + " " + f[3], strings.Join(f[4:], " ")})
	}
	doc.section("Parts", "Three runs each of `go test -bench BenchmarkPart ./bpf/bpftest/bench`.")
	doc.table(rows)
	return nil
}
