package bpf

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkDrain reports the time to drain a full generation, and an empty one.
func BenchmarkDrain(b *testing.B) {
	const flows = 65_000
	k := load(b, Config{})
	fd := newSocket(b, unix.SOCK_DGRAM, 0)
	n := 0
	count := func(*Flow) { n++ }
	var full, empty time.Duration
	for b.Loop() {
		b.StopTimer()
		for i := range flows {
			to := &unix.SockaddrInet4{Addr: [4]byte{127, 1, byte(i >> 8), byte(i)}, Port: 9}
			must(b, unix.Sendto(fd, []byte{1}, 0, to))
		}
		b.StartTimer()
		at := time.Now()
		must(b, k.Drain(count))
		full += time.Since(at)
		at = time.Now()
		must(b, k.Drain(count))
		empty += time.Since(at)
	}
	if n < flows*b.N {
		b.Errorf("%d flows, want %d", n, flows*b.N)
	}
	b.ReportMetric(float64(full.Milliseconds())/float64(b.N), "full-ms")
	b.ReportMetric(float64(empty.Microseconds())/float64(b.N), "empty-µs")
}

// BenchmarkNewSockets reports new connected UDP sockets a second that are
// recorded while somebody drains, and how many bytes were not.
func BenchmarkNewSockets(b *testing.B) {
	k := load(b, Config{})
	sink := newSocket(b, unix.SOCK_DGRAM, 0)
	bind(b, sink)
	at := localOf(b, sink)
	stop, done := make(chan struct{}), make(chan struct{})
	var got sums
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				_ = k.Drain(got.add)
			}
		}
	}()
	const each = 100_000
	start := time.Now()
	for b.Loop() {
		for range each {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			must(b, err)
			must(b, unix.Connect(fd, at))
			_, err = unix.Write(fd, []byte{1})
			must(b, err)
			unix.Close(fd)
		}
	}
	rate := float64(each*b.N) / time.Since(start).Seconds()
	close(stop)
	<-done
	must(b, k.Drain(got.add))
	if got.sent != uint64(each*b.N) {
		b.Errorf("%d bytes recorded, want %d", got.sent, each*b.N)
	}
	noLosses(b, k)
	b.ReportMetric(rate, "sockets/s")
}

// BenchmarkOpenSockets reports the time to ask 10,000 open sockets that moved
// nothing, in each of the two ways.
func BenchmarkOpenSockets(b *testing.B) {
	const open = 10_000
	for name, cfg := range map[string]Config{"storage": {}, "held": {held: true}} {
		b.Run(name, func(b *testing.B) {
			k := load(b, cfg)
			sink := newSocket(b, unix.SOCK_DGRAM, 0)
			bind(b, sink)
			at := localOf(b, sink)
			for range open {
				must(b, unix.Connect(newSocket(b, unix.SOCK_DGRAM, 0), at))
			}
			must(b, k.Drain(func(*Flow) {}))
			for b.Loop() {
				must(b, k.Drain(func(*Flow) {}))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/open, "ns/socket")
		})
	}
}
