package digest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"snitch/monitor/event"
)

// BenchmarkHit is the second execution of a file: no open, no read.
func BenchmarkHit(b *testing.B) {
	r := newRig(b, Config{NoFanotify: true})
	path := install(b, filepath.Join(b.TempDir(), "prog"), program(b, "sleep"))
	age()
	r.askFile(path)
	req := event.HashRequest{File: fileID(b, path), Boot: bootTime(b)}
	b.Run("disk", func(b *testing.B) { hit(b, r, req) })
	shm := install(b, filepath.Join("/dev/shm", filepath.Base(b.TempDir())+"digest-bench"), program(b, "sleep"))
	defer func() { _ = exec.Command("/bin/rm", shm).Run() }()
	age()
	r.askFile(shm)
	b.Run("unnamed device", func(b *testing.B) { hit(b, r, event.HashRequest{File: fileID(b, shm), Boot: bootTime(b)}) })
}

func hit(b *testing.B, r *rig, req event.HashRequest) {
	b.ReportAllocs()
	misses := 0
	for b.Loop() {
		if _, ok := r.Executable(req, func(event.HashResult) {}); !ok {
			misses++ // somebody mounted something: the table is read again
		}
	}
	if misses > 1+b.N/1000 {
		b.Errorf("%d of %d not answered at once", misses, b.N)
	}
}

// BenchmarkRead is the cost of a new file, from the page cache.
func BenchmarkRead(b *testing.B) {
	for name, size := range map[string]int{"64KiB": 64 << 10, "1MiB": 1 << 20, "64MiB": 64 << 20} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, Config{NoFanotify: true, Workers: 1})
			path := install(b, filepath.Join(b.TempDir(), "file"), make([]byte, size))
			settle()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if got := r.askFile(path); got.Reason != event.HashKnown {
					b.Fatal(got.Reason)
				}
				r.dropCache()
			}
		})
	}
}

// BenchmarkExec is fork, exec and exit of a known program from a shell, in
// pairs without and with a running hasher: the median of the pairs' ratios.
func BenchmarkExec(b *testing.B) {
	known := install(b, filepath.Join(b.TempDir(), "prog"), program(b, "true"))
	age()
	const pairs, executions = 41, 25
	loop := func() float64 {
		begun := time.Now()
		script := `i=0; while [ $i -lt $1 ]; do "$0"; i=$((i+1)); done`
		if err := exec.Command("/bin/sh", "-c", script, known, fmt.Sprint(executions)).Run(); err != nil {
			b.Fatal(err)
		}
		return float64(time.Since(begun).Microseconds()) / executions
	}
	with := func() float64 {
		r := newRig(b, Config{})
		stop := r.run()
		for range 3 {
			r.ask(runOnce(b, known))
		}
		took := loop()
		stop()
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
		return took
	}
	for b.Loop() {
		var base, attached, ratio []float64
		for i := range pairs {
			var plain, watched float64
			if i%2 == 0 {
				plain, watched = loop(), with()
			} else {
				watched, plain = with(), loop()
			}
			base, attached, ratio = append(base, plain), append(attached, watched), append(ratio, watched/plain)
		}
		b.ReportMetric(median(base), "base-µs/exec")
		b.ReportMetric(median(attached), "attached-µs/exec")
		b.ReportMetric(median(ratio), "attached/base")
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
