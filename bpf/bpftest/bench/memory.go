package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"snitch/bpf/bpftest"
)

// memory measures core and broker together, idle and under load.
func (b *bench) memory(doc *document) error {
	const idle = 20 * time.Second
	rows := [][]string{{"daemon and broker", "PSS", "processor time", "aim"}}
	err := b.serve(func() error {
		return b.attached(func(d *bpftest.Daemon) error {
			time.Sleep(3 * time.Second) // the first hashing is over
			used, err := busy(d.PID(), func() error { time.Sleep(idle); return nil })
			if err != nil {
				return err
			}
			pss, err := proportional(d.PID())
			if err != nil {
				return err
			}
			rows = append(rows, []string{"idle for " + idle.String(), megabytes(pss), percent(used), "≤ 27 MB, ≤ 0.3 %"})
			for _, w := range workloads() {
				used, err := busy(d.PID(), func() error {
					_, err := b.once(w.what, w.to, "-for", "2s")
					return err
				})
				if err != nil {
					return err
				}
				if pss, err = proportional(d.PID()); err != nil {
					return err
				}
				rows = append(rows, []string{w.title, megabytes(pss), percent(used), "–"})
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	doc.section("Memory and processor time", "PSS of `/proc/PID/smaps_rollup`, the process and its children summed; 100 % is one processor. The loads run one after the other under one daemon.")
	doc.table(rows)
	return nil
}

func megabytes(kb uint64) string { return fmt.Sprintf("%.1f MB", float64(kb)/1024) }
func percent(f float64) string   { return fmt.Sprintf("%.2f %%", 100*f) }

// busy is the share of one processor that pid and its children used during f.
func busy(pid int, f func() error) (float64, error) {
	before, err := ticks(pid)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := f(); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	after, err := ticks(pid)
	const hertz = 100 // USER_HZ
	return float64(after-before) / hertz / took.Seconds(), err
}

func ticks(pid int) (uint64, error) {
	return sumTree(pid, func(dir string) (uint64, error) {
		b, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			return 0, err
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) < 13 {
			return 0, fmt.Errorf("%s/stat has %d fields", dir, len(f))
		}
		user, err := strconv.ParseUint(f[11], 10, 64)
		if err != nil {
			return 0, err
		}
		system, err := strconv.ParseUint(f[12], 10, 64)
		return user + system, err
	})
}

// proportional is the PSS in kilobytes.
func proportional(pid int) (uint64, error) {
	return sumTree(pid, func(dir string) (uint64, error) {
		b, err := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "Pss:" {
				return strconv.ParseUint(f[1], 10, 64)
			}
		}
		return 0, fmt.Errorf("%s/smaps_rollup has no Pss", dir)
	})
}

// sumTree adds up f of a process and all its descendants.
func sumTree(pid int, f func(dir string) (uint64, error)) (uint64, error) {
	family, err := bpftest.Descendants(pid)
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, p := range append(family, pid) {
		n, err := f(fmt.Sprintf("/proc/%d", p))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
