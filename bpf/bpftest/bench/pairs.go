package main

import (
	"fmt"
	"os"
	"slices"

	"snitch/bpf/bpftest"
)

// paired measures every workload under a daemon that only looks.
func (b *bench) paired(doc *document) error {
	list := workloads()
	base, attached, err := b.sweeps(list)
	if err != nil {
		return err
	}
	rows := [][]string{{"workload", "base", "attached", "attached/base", "spread", "aim"}}
	for i, w := range list {
		ratios := ratiosOf(attached[i], base[i])
		aim := "–"
		if w.aim > 0 {
			aim = fmt.Sprintf("≥ %.2f", w.aim)
		}
		rows = append(rows, []string{w.title, fmt.Sprintf("%.0f %s", median(base[i]), w.unit), fmt.Sprintf("%.0f", median(attached[i])),
			fmt.Sprintf("**%.3f**", median(ratios)), fmt.Sprintf("%.2f–%.2f", slices.Min(ratios), slices.Max(ratios)), aim})
	}
	doc.section("Throughput with the daemon and without",
		fmt.Sprintf("Median of %d pairs of runs of %v each; the ratio is the median of the pairs' ratios.", b.pairs, b.length))
	doc.table(rows)
	return nil
}

// sweeps measures workloads in pairs: without a daemon and under one with these
// flags, next to each other, the order turned from pair to pair.
func (b *bench) sweeps(list []workload, flags ...string) (base, attached [][]float64, err error) {
	base, attached = make([][]float64, len(list)), make([][]float64, len(list))
	sweep := func(into [][]float64) error {
		for i, w := range list {
			s, err := b.once(w.what, w.to)
			if err != nil {
				return err
			}
			into[i] = append(into[i], s.perSecond())
		}
		return nil
	}
	bare := func() error { return sweep(base) }
	watched := func() error {
		return b.attached(func(*bpftest.Daemon) error { return sweep(attached) }, flags...)
	}
	err = b.serve(func() error {
		if err := sweep(make([][]float64, len(list))); err != nil { // warm up
			return err
		}
		for pair := range b.pairs {
			first, second := bare, watched
			if pair%2 == 1 {
				first, second = watched, bare
			}
			if err := first(); err != nil {
				return err
			}
			if err := second(); err != nil {
				return err
			}
			fmt.Fprint(os.Stderr, ".")
		}
		return nil
	})
	return base, attached, err
}

// ratiosOf are those of each pair.
func ratiosOf(attached, base []float64) []float64 {
	ratios := make([]float64, len(base))
	for k := range ratios {
		ratios[k] = attached[k] / base[k]
	}
	return ratios
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
