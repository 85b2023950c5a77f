package bpf

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"snitch/bpf/features"
)

// workloads are what BenchmarkAttached compares; each does n operations.
var workloads = []struct {
	name string
	n    int
	run  func(b *testing.B, n int)
}{
	{"connect+close", 3000, connectClose},
	{"udp-connected-1B", 40000, udpConnected},
	{"udp-unconnected-1B", 40000, udpUnconnected},
	{"tcp-roundtrip-1B", 10000, tcpRoundTrip},
	{"tcp-bulk-64K", 6000, tcpBulk},
	{"tcp-1K", 30000, tcpSmall},
}

// BenchmarkAttached reports attached/base throughput, the median of paired,
// alternating runs, with the whole machine accounted. Time is the thread's own
// on the processor, so that neighbours disturb less.
func BenchmarkAttached(b *testing.B) {
	const pairs = 15
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	costs := make([][2][]float64, len(workloads)) // ns by workload, base and attached
	for i := range 2 * pairs {
		with := (i/2+i)%2 == 1 // base, attached, attached, base, …
		var k *Kernel
		if with {
			var err error
			k, err = Load(Config{Tier: features.TierReference})
			check(b, err)
		}
		for w := range workloads {
			workloads[w].run(b, workloads[w].n/10)
			ns := float64(timed(b, workloads[w].n, workloads[w].run)) / float64(workloads[w].n)
			costs[w][i%2^(i/2)%2] = append(costs[w][i%2^(i/2)%2], ns)
		}
		if with {
			check(b, k.Close())
		}
	}
	for w := range workloads {
		report(b, workloads[w].name, costs[w][0], costs[w][1])
	}
}

func report(b *testing.B, name string, base, attached []float64) {
	ratios := make([]float64, len(base))
	for i := range base {
		ratios[i] = base[i] / attached[i]
	}
	for _, s := range [][]float64{ratios, base, attached} {
		slices.Sort(s)
	}
	mid := len(base) / 2
	b.Logf("%-20s attached/base %.3f (%.3f…%.3f)  base %.0f ns  attached %.0f ns", name,
		ratios[mid], ratios[len(ratios)/4], ratios[len(ratios)*3/4], base[mid], attached[mid])
}

func timed(b *testing.B, n int, run func(*testing.B, int)) time.Duration {
	at := threadTime(b)
	run(b, n)
	return threadTime(b) - at
}

func threadTime(b *testing.B) time.Duration {
	var ts unix.Timespec
	check(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts))
	return time.Duration(ts.Nano())
}

// BenchmarkPrograms reports ns of every program that ran, under all workloads.
func BenchmarkPrograms(b *testing.B) {
	k, err := Load(Config{Tier: features.TierReference})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	last := map[string]ebpf.ProgramStats{}
	for _, w := range workloads {
		w.run(b, w.n/4)
		out := fmt.Sprintf("%-20s", w.name)
		for name, p := range k.coll.Programs {
			s, err := p.Stats()
			if err != nil {
				b.Fatal(err)
			}
			n, d := s.RunCount-last[name].RunCount, s.Runtime-last[name].Runtime
			if n > uint64(w.n/8) {
				out += fmt.Sprintf("  %s %d ns ×%.1f", name, uint64(d)/n, float64(n)/float64(w.n/4))
			}
			last[name] = *s
		}
		b.Log(out)
	}
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

func socket(b *testing.B, kind int) int {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	check(b, err)
	return fd
}

var loopback = [4]byte{127, 0, 0, 1}

// bound is a socket with a port, and its address.
func bound(b *testing.B, kind int) (int, *unix.SockaddrInet4) {
	fd := socket(b, kind)
	check(b, unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}))
	if kind == unix.SOCK_STREAM {
		check(b, unix.Listen(fd, 128))
	}
	name, err := unix.Getsockname(fd)
	check(b, err)
	return fd, name.(*unix.SockaddrInet4)
}

// connectClose makes and resets connections, one after the other.
func connectClose(b *testing.B, n int) {
	ln, at := bound(b, unix.SOCK_STREAM)
	defer unix.Close(ln)
	for range n {
		fd := socket(b, unix.SOCK_STREAM)
		check(b, unix.Connect(fd, at))
		c, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		check(b, err)
		// reset, so that no port waits
		check(b, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		check(b, unix.Close(fd))
		check(b, unix.Close(c))
	}
}

func udpConnected(b *testing.B, n int) {
	s, at := bound(b, unix.SOCK_DGRAM)
	c := socket(b, unix.SOCK_DGRAM)
	check(b, unix.Connect(c, at))
	local, err := unix.Getsockname(c)
	check(b, err)
	check(b, unix.Connect(s, local))
	buf := make([]byte, 1)
	for range n {
		_, err := unix.Write(c, buf)
		check(b, err)
		_, err = unix.Read(s, buf)
		check(b, err)
	}
	unix.Close(s)
	unix.Close(c)
}

func udpUnconnected(b *testing.B, n int) {
	s, at := bound(b, unix.SOCK_DGRAM)
	c := socket(b, unix.SOCK_DGRAM)
	buf := make([]byte, 1)
	for range n {
		check(b, unix.Sendto(c, buf, 0, at))
		_, _, err := unix.Recvfrom(s, buf, 0)
		check(b, err)
	}
	unix.Close(s)
	unix.Close(c)
}

// pair is a TCP connection to oneself.
func pair(b *testing.B) (int, int) {
	ln, at := bound(b, unix.SOCK_STREAM)
	defer unix.Close(ln)
	c := socket(b, unix.SOCK_STREAM)
	check(b, unix.Connect(c, at))
	s, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
	check(b, err)
	for _, fd := range []int{c, s} {
		check(b, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	}
	return c, s
}

func exchange(b *testing.B, from, to int, buf []byte) {
	_, err := unix.Write(from, buf)
	check(b, err)
	for got := 0; got < len(buf); {
		n, err := unix.Read(to, buf[got:])
		check(b, err)
		got += n
	}
}

func tcpRoundTrip(b *testing.B, n int) {
	c, s := pair(b)
	buf := make([]byte, 1)
	for range n {
		exchange(b, c, s, buf)
		exchange(b, s, c, buf)
	}
	unix.Close(c)
	unix.Close(s)
}

func tcpSmall(b *testing.B, n int) {
	c, s := pair(b)
	buf := make([]byte, 1024)
	for range n {
		exchange(b, c, s, buf)
	}
	unix.Close(c)
	unix.Close(s)
}

func tcpBulk(b *testing.B, n int) {
	c, s := pair(b)
	buf := make([]byte, 65536)
	for range n {
		exchange(b, c, s, buf)
	}
	unix.Close(c)
	unix.Close(s)
}
