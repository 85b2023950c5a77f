package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// document is the text of docs/benchmarks.md in the making.
type document struct{ strings.Builder }

func (d *document) head() {
	var uts unix.Utsname
	release := "unknown"
	if unix.Uname(&uts) == nil {
		release = unix.ByteSliceToString(uts.Release[:])
	}
	fmt.Fprintf(d, "# Benchmarks\n\nWritten by `sudo make bench` on %s: Linux %s, %s, %d processors, load average %s before it began.\n"+
		"Where that load is not near 0, others ran meanwhile and the spread says how far to believe a ratio.\n",
		time.Now().UTC().Format(time.DateOnly), release, runtime.GOARCH, runtime.NumCPU(), loadAverage())
}

// loadAverage is that of the last minute.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(b), " ")
	return first
}

func (d *document) section(title, text string) {
	fmt.Fprintf(d, "\n## %s\n\n%s\n\n", title, text)
}

// table writes rows of cells, the first the head.
func (d *document) table(rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(d, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(d, "|%s\n", strings.Repeat("---|", len(row)))
		}
	}
}
