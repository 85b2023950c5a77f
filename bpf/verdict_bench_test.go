package bpf

import (
	"net"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// spent is what the named programs took, by the kernel's own count.
func spent(b *testing.B, v *Verdicts, names ...string) (took time.Duration, runs uint64) {
	b.Helper()
	for _, name := range names {
		s, err := v.coll.Programs[name].Stats()
		if err != nil {
			b.Fatal(err)
		}
		took, runs = took+s.Runtime, runs+s.RunCount
	}
	return took, runs
}

// BenchmarkVerdictHooks is what one run of each hook costs: a judged connect, a
// datagram to a known peer, and the packets of both.
func BenchmarkVerdictHooks(b *testing.B) {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Skipf("missing feature: run time of programs: %v", err)
	}
	defer stats.Close()
	cgroup := enter(b)
	_, udp := listeners(b, "127.0.0.1")
	v := verdicts(b, VerdictConfig{Cgroup: cgroup})
	generation := attached(b, v, VerdictAllow)
	if err := v.PutSubject(self(b, v), subjectOf(generation, 1)); err != nil {
		b.Fatal(err)
	}
	sender, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer sender.Close()
	to := udp.LocalAddr().(*net.UDPAddr)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	peer := &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}
	for _, c := range []struct {
		name string
		hook string
		do   func() error
	}{
		{"connect", "verdict_connect4", func() error { return unix.Connect(fd, peer) }},
		{"sendmsg", "verdict_sendmsg4", func() error { _, err := sender.WriteTo([]byte("x"), to); return err }},
		{"egress", "verdict_egress", func() error { _, err := sender.WriteTo([]byte("x"), to); return err }},
		{"ingress", "verdict_ingress", func() error { _, err := sender.WriteTo([]byte("x"), to); return err }},
	} {
		b.Run(c.name, func(b *testing.B) {
			before, runs := spent(b, v, c.hook)
			for b.Loop() {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
			after, now := spent(b, v, c.hook)
			if now == runs {
				b.Fatal("the hook did not run")
			}
			b.ReportMetric(float64(after-before)/float64(now-runs), "ns/run")
		})
	}
}
