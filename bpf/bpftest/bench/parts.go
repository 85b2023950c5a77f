package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// goBenchmarks are Go benchmarks of single parts, which have no meaning as a
// pair: they live with the part that they measure.
var goBenchmarks = []struct{ pkg, pattern, more string }{
	{"snitch/bpf", "^(BenchmarkDrain|BenchmarkNewSockets)$", "-benchtime=3x"},
	{"snitch/monitor/store", "^(BenchmarkInsert|BenchmarkUpdate)$", "-benchtime=2s"},
}

// parts measures the drain of a full generation of flows, new sockets under a
// bare drain, and the writer of the database.
func (b *bench) parts(doc *document) error {
	table := [][]string{{"part", "benchmark", "result"}}
	for _, g := range goBenchmarks {
		out, err := exec.Command("go", "test", "-run", "^$", "-bench", g.pattern, g.more, g.pkg).CombinedOutput()
		if err != nil {
			return fmt.Errorf("go test %s: %w\n%s", g.pkg, err, out)
		}
		found := results(g.pkg, out)
		if len(found) == 0 {
			return fmt.Errorf("go test %s: no benchmark matches %s", g.pkg, g.pattern)
		}
		table = append(table, found...)
	}
	doc.section("Parts", "`go test -bench` of the packages named.")
	doc.table(table)
	return nil
}

// results reads the lines `BenchmarkName-2  3  123 ns/op  4 unit`.
func results(pkg string, out []byte) [][]string {
	var found [][]string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(f[0], "Benchmark"), "-")
		var values []string
		for i := 2; i+1 < len(f); i += 2 {
			values = append(values, f[i]+" "+f[i+1])
		}
		found = append(found, []string{strings.TrimPrefix(pkg, "snitch/"), name, strings.Join(values, ", ")})
	}
	return found
}

// goBenchmark is one whose results have rows of their own making.
type goBenchmark struct {
	pkg, pattern, time, env string
	row                     func(name string, values map[string]string) []string
}

// rows runs benchmarks and makes their rows.
func rows(list []goBenchmark) ([][]string, error) {
	var all [][]string
	for _, p := range list {
		fmt.Fprintf(os.Stderr, "bench: %s %s\n", p.pkg, p.pattern)
		cmd := exec.Command("go", "test", "-run", "^$", "-bench", p.pattern, "-benchtime", p.time, p.pkg)
		cmd.Env = append(os.Environ(), p.env)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("go test %s: %w\n%s", p.pkg, err, out)
		}
		found := results(p.pkg, out)
		if len(found) == 0 {
			return nil, fmt.Errorf("go test %s: no benchmark matches %s", p.pkg, p.pattern)
		}
		for _, r := range found {
			values := map[string]string{}
			for value := range strings.SplitSeq(r[2], ", ") {
				number, unit, _ := strings.Cut(value, " ")
				values[unit] = number
			}
			all = append(all, p.row(r[1], values))
		}
	}
	return all, nil
}
