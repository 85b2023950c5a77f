//go:build vm

package vm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"snitch/bpf/features"
)

// tables gathers what the guests print.
type tables struct {
	mu       sync.Mutex
	reports  map[string]features.Report // guarded by mu
	missed   map[string][]string        // what the monitor could not have exactly; guarded by mu
	enforced map[string]*outcome        // guarded by mu
	lsm      map[string]bool            // whether BPF LSM runs in the suite that enforces; guarded by mu
}

// read takes one line of a guest's output.
func (f *tables) read(t *testing.T, kernel string, s *suite, line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if text, ok := strings.CutPrefix(line, "report: "); ok {
		var report features.Report
		if err := json.Unmarshal([]byte(text), &report); err != nil {
			t.Errorf("read the report of kernel %s: %v", kernel, err)
			return
		}
		if tier, why := report.Tier(); tier != best[kernel] {
			t.Errorf("kernel %s runs the %s tier, want %s: %s", kernel, tier, best[kernel], why)
		}
		put(&f.reports, kernel, report)
	}
	if text, ok := strings.CutPrefix(line, "lsm: "); ok && s.lsm != nil {
		runs := slices.Contains(strings.Split(text, ","), "bpf")
		if want, says := s.lsm[kernel]; says && runs != (want == withLSM) {
			t.Errorf("kernel %s runs the security modules %s, want %s", kernel, text, want)
		}
		put(&f.lsm, kernel, runs)
	}
}

// keep takes what a whole suite said.
func (f *tables) keep(kernel string, s *suite, o *outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch s.name {
	case "enforce":
		put(&f.enforced, kernel, o)
	case scenarioDir:
		put(&f.missed, kernel, o.shortfalls)
	}
}

func put[V any](m *map[string]V, key string, value V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[key] = value
}

// publish writes those tables of docs/kernels.md for which every supported
// kernel was asked, when all passed.
func (f *tables) publish(t *testing.T, root string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]string{}
	if everywhere(f.reports) {
		all["features"] = f.features()
	}
	if everywhere(f.missed) {
		all["shortfalls"] = f.missing()
	}
	if everywhere(f.enforced) {
		all["enforcement"] = enforcement(f.asked(), f.enforced, f.lsm)
	}
	if t.Failed() || len(all) == 0 {
		t.Log("docs/kernels.md stays: not every supported kernel was asked and passed")
		return
	}
	name := filepath.Join(root, "docs/kernels.md")
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for marker, table := range all {
		if doc, err = replaceBetween(doc, marker, table); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(name, doc, 0o644); err != nil {
		t.Fatal(err)
	}
}

// everywhere reports whether every supported kernel is in m.
func everywhere[V any](m map[string]V) bool {
	return !slices.ContainsFunc(supported, func(k string) bool { _, ok := m[k]; return !ok })
}

// asked are the kernels of the tables: the supported ones and what else was
// booted.
func (f *tables) asked() []string {
	all := slices.Clone(supported)
	for _, k := range slices.Sorted(maps.Keys(f.reports)) {
		if !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all
}

func (f *tables) features() string {
	var b strings.Builder
	b.WriteString("| feature |")
	columns := f.asked()
	for _, k := range columns {
		fmt.Fprintf(&b, " %s |", k)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n| **best tier** |")
	for _, k := range columns {
		tier, _ := f.reports[k].Tier()
		fmt.Fprintf(&b, " %s |", tier)
	}
	b.WriteString("\n")
	for _, feature := range features.All() {
		fmt.Fprintf(&b, "| %s |", feature)
		for _, k := range columns {
			fmt.Fprintf(&b, " %s |", map[features.Answer]string{features.Yes: "✓", features.No: "–"}[f.reports[k].Get(feature).Answer])
		}
		b.WriteString("\n")
	}
	b.WriteString("\nAsked of:")
	for _, k := range columns {
		fmt.Fprintf(&b, " %s", f.reports[k].Kernel)
	}
	b.WriteString(".\n")
	return b.String()
}

func (f *tables) missing() string {
	var b strings.Builder
	for _, k := range f.asked() {
		for _, text := range f.missed[k] {
			fmt.Fprintf(&b, "* %s: %s\n", k, text)
		}
	}
	if b.Len() == 0 {
		return "None was reported.\n"
	}
	return b.String()
}

// replaceBetween replaces what stands between a marker's two comments.
func replaceBetween(doc []byte, marker, text string) ([]byte, error) {
	begin, end := []byte("<!-- "+marker+": begin -->\n"), []byte("<!-- "+marker+": end -->")
	head, rest, ok := bytes.Cut(doc, begin)
	_, foot, closed := bytes.Cut(rest, end)
	if !ok || !closed {
		return nil, fmt.Errorf("there are no comments that begin and end %q", marker)
	}
	return bytes.Join([][]byte{head, begin, []byte(text), end, foot}, nil), nil
}
