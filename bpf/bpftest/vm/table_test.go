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
	"testing"

	"snitch/bpf/features"
)

// add takes one line of a guest's output. Test logs come with their place in
// front, so the words are looked for anywhere.
func (f *tables) add(t *testing.T, kernel, line string) {
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
		if f.reports == nil {
			f.reports = map[string]features.Report{}
		}
		f.reports[kernel] = report
	}
	if _, text, ok := strings.Cut(line, "shortfall: "); ok {
		if f.shortfalls == nil {
			f.shortfalls = map[string][]string{}
		}
		f.shortfalls[kernel] = append(f.shortfalls[kernel], text)
	}
}

// publish writes the tables into docs/kernels.md, when all kernels were asked
// and passed.
func (f *tables) publish(t *testing.T, root string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.Failed() || !f.complete() {
		t.Log("docs/kernels.md stays: not every supported kernel was asked and passed")
		return
	}
	name := filepath.Join(root, "docs/kernels.md")
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for marker, table := range map[string]string{"features": f.features(), "shortfalls": f.missing()} {
		if doc, err = replaceBetween(doc, marker, table); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(name, doc, 0o644); err != nil {
		t.Fatal(err)
	}
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
		for _, text := range f.shortfalls[k] {
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
