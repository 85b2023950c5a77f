package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// timed lets the kernel time each program while every workload runs once.
func (b *bench) timed(doc *document) error {
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return fmt.Errorf("enable statistics of programs: %w", err)
	}
	defer stats.Close()
	var rows [][]string
	err = b.serve(func() error {
		return b.attached(func(d *bpftest.Daemon) error {
			for _, w := range workloads() {
				if _, err := b.once(w.what, w.to); err != nil {
					return err
				}
			}
			rows, err = timings(d.Held().Programs)
			return err
		})
	})
	if err != nil {
		return err
	}
	doc.section("Time per program", "Of the kernel's own clock (BPF_ENABLE_STATS), which adds some 20 ns to each run, over one run of every workload.")
	doc.table(append([][]string{{"program", "type", "runs", "ns"}}, rows...))
	return nil
}

func timings(ids []uint32) ([][]string, error) {
	var rows [][]string
	for _, id := range ids {
		p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
		if err != nil {
			return nil, fmt.Errorf("open program %d: %w", id, err)
		}
		info, err := p.Info()
		s, statErr := p.Stats()
		if err := errors.Join(err, statErr, p.Close()); err != nil {
			return nil, fmt.Errorf("ask program %d: %w", id, err)
		}
		if s.RunCount > 0 {
			rows = append(rows, []string{info.Name, info.Type.String(), fmt.Sprint(s.RunCount),
				fmt.Sprintf("%.0f", float64(s.Runtime.Nanoseconds())/float64(s.RunCount))})
		}
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	return rows, nil
}
