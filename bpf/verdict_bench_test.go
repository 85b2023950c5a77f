package bpf

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// meter tells what runs of a program took, by the kernel's own count.
type meter struct {
	b      *testing.B
	p      *ebpf.Program
	before *ebpf.ProgramStats
}

func (m *meter) read() *ebpf.ProgramStats {
	m.b.Helper()
	s, err := m.p.Stats()
	if err != nil {
		m.b.Fatal(err)
	}
	return s
}

func (m *meter) start() { m.before = m.read() }

func (m *meter) perRun() float64 {
	m.b.Helper()
	now := m.read()
	if now.RunCount == m.before.RunCount {
		m.b.Fatal("the hook did not run")
	}
	return float64(now.Runtime-m.before.Runtime) / float64(now.RunCount-m.before.RunCount)
}

// doNothing attaches an empty program beside one of v: what the kernel counts of
// it is what counting costs.
func doNothing(b *testing.B, v *Verdicts, beside string) *ebpf.Program {
	b.Helper()
	spec := v.spec.Programs[beside]
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: spec.Type, AttachType: spec.AttachType, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	l, err := link.AttachCgroup(link.CgroupOptions{Path: v.cfg.Cgroup, Attach: spec.AttachType, Program: p})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	return p
}

// BenchmarkVerdictHooks is what one run of each hook costs: a judged connect, a
// datagram to a known peer, and the packets of both; and what counting that costs.
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
			hook, floor := meter{b: b, p: v.coll.Programs[c.hook]}, meter{b: b, p: doNothing(b, v, c.hook)}
			hook.start()
			floor.start()
			for b.Loop() {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(hook.perRun(), "ns/run")
			b.ReportMetric(floor.perRun(), "ns/nothing")
		})
	}
}
