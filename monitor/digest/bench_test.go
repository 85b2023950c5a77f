package digest

import (
	"os/exec"
	"path/filepath"
	"testing"

	"snitch/monitor/event"
)

// BenchmarkHit is the second execution of a file: no open, no read.
func BenchmarkHit(b *testing.B) {
	r := newRig(b, Config{NoFanotify: true})
	path := install(b, filepath.Join(b.TempDir(), "prog"), program(b, "sleep"))
	settle()
	r.askFile(path)
	req := event.HashRequest{File: fileID(b, path)}
	b.Run("disk", func(b *testing.B) { hit(b, r, req) })
	shm := install(b, filepath.Join("/dev/shm", filepath.Base(b.TempDir())+"digest-bench"), program(b, "sleep"))
	defer func() { _ = exec.Command("/bin/rm", shm).Run() }()
	settle()
	r.askFile(shm)
	b.Run("unnamed device", func(b *testing.B) { hit(b, r, event.HashRequest{File: fileID(b, shm)}) })
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

// BenchmarkExec is fork, exec and exit of one known program, with and without
// a running hasher, in turns.
func BenchmarkExec(b *testing.B) {
	path := install(b, filepath.Join(b.TempDir(), "prog"), program(b, "true"))
	settle()
	execute := func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command(path).Run(); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range 3 {
		b.Run("base", execute)
		b.Run("attached", func(b *testing.B) {
			r := newRig(b, Config{})
			r.run()
			for range 3 {
				r.ask(runOnce(b, path))
			}
			execute(b)
		})
	}
}
