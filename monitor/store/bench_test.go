package store

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// traffic makes n connections as a busy host has them: 40 programs, 300 peers,
// 200 names, most of them short.
func traffic(first uint64, n int, at time.Time, procs []*event.Process) []event.Connection {
	out := make([]event.Connection, n)
	for i := range out {
		id := first + uint64(i)
		c := connection(id, at.Add(time.Duration(i)*time.Microsecond), 517+id%1000, 4000+id%100_000)
		c.Process = procs[id*7%uint64(len(procs))]
		c.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{93, 184, byte(id % 3), byte(id * 11 % 100)}), 443)
		c.Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 2}), uint16(32768+id%28000))
		c.Name.Domain = fmt.Sprintf("host%d.example.org", id*13%200)
		c.Country = []string{"DE", "US", "FR"}[id%3]
		c.Packets, c.Closed, c.Result = 12, true, event.ResultClosed
		out[i] = c
	}
	return out
}

func programs() []*event.Process {
	out := make([]*event.Process, 40)
	for i := range out {
		p := *process(1000 + i)
		p.Executable = event.Executable{Path: fmt.Sprintf("/usr/bin/program-%d", i), Kind: event.ExecutableFile, SHA256: event.Digest{byte(i + 1)}}
		p.Name, p.Args = fmt.Sprint("program-", i), []string{fmt.Sprint("/usr/bin/program-", i), "--option", "value"}
		out[i] = &p
	}
	return out
}

// BenchmarkInsert writes new connections in batches of a thousand.
func BenchmarkInsert(b *testing.B) {
	const size = 1000
	s := open(b, b.TempDir())
	procs := programs()
	b.ReportAllocs()
	rows := 0
	b.ResetTimer()
	var cpu time.Duration
	for n := 0; b.Loop(); n++ {
		at := base.Add(time.Duration(n) * time.Second)
		b.StopTimer()
		conns := traffic(uint64(rows+1), size, at, procs)
		cpu -= cpuTime(b)
		b.StartTimer()
		s.Append(Batch{Time: at, Connections: conns})
		flush(b, s)
		cpu += cpuTime(b)
		rows += size
	}
	b.StopTimer()
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(rows)/cpu.Seconds(), "rows/cpu-s")
	if _, err := s.w.c.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		b.Fatal(err)
	}
	for _, table := range []string{"connection", "rollup"} {
		n := number(b, s, "SELECT sum(pgsize) FROM dbstat WHERE name = '"+table+"'")
		b.ReportMetric(float64(n)/float64(rows), table+"-B/row")
	}
	b.ReportMetric(float64(s.Stats().Bytes)/float64(rows), "file-B/row")
}

// cpuTime is what this process has used: other work on the machine does not
// count.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkUpdate changes the same thousand open connections again and again.
func BenchmarkUpdate(b *testing.B) {
	const size = 1000
	s := open(b, b.TempDir())
	conns := traffic(1, size, base, programs())
	rows := 0
	b.ResetTimer()
	for n := 0; b.Loop(); n++ {
		for i := range conns {
			conns[i].Closed = false
			conns[i].Sent += 100
		}
		s.Append(Batch{Time: base.Add(time.Duration(n) * time.Second), Connections: conns})
		flush(b, s)
		rows += size
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkMemory says what an open store costs the daemon: proportional set
// size before, idle, and after 100,000 rows.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := pss(b)
		s := open(b, b.TempDir())
		flush(b, s)
		idle := pss(b)
		procs := programs()
		for n := range 100 {
			at := base.Add(time.Duration(n) * time.Second)
			s.Append(Batch{Time: at, Connections: traffic(uint64(n*1000+1), 1000, at, procs)})
			flush(b, s)
		}
		b.ReportMetric(idle-before, "open-KiB")
		b.ReportMetric(pss(b)-idle, "100k-rows-KiB")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// pss is the proportional set size in KiB after garbage was collected.
func pss(b *testing.B) float64 {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	smaps, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(smaps) {
		if rest, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			n, err := strconv.ParseFloat(string(bytes.Fields(rest)[0]), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	b.Fatal("no Pss in smaps_rollup")
	return 0
}
