package bpf

import (
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"snitch/bpf/features"
)

// loadTier loads a tier for the test's cgroup, or skips where the kernel lacks
// what it needs.
func loadTier(t *testing.T, tier features.Tier) *Kernel {
	t.Helper()
	return loadTierAt(t, tier, enter(t))
}

// needTier skips where the kernel lacks what a tier needs, naming it.
func needTier(t testing.TB, tier features.Tier) {
	t.Helper()
	if ok, why := features.Detect(t.Context()).Runs(tier); !ok {
		t.Skipf("missing feature: %s tier: %s", tier, why)
	}
}

func loadTierAt(t *testing.T, tier features.Tier, cgroup string) *Kernel {
	t.Helper()
	needTier(t, tier)
	k, err := Load(Config{Tier: tier, Cgroup: cgroup, Filter: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return k
}

// Every tier that the kernel runs counts plain TCP and UDP to the byte.
func TestTiersCount(t *testing.T) {
	for _, tier := range []features.Tier{features.TierReference, features.TierFexit, features.TierCounters} {
		for _, host := range []string{"127.0.0.1", "::1"} {
			t.Run(tier.String()+"/"+host, func(t *testing.T) {
				k := loadTier(t, tier)
				var want []row
				want = append(want, exchangeTCP(t, host, 1_000_003, 70_001)...)
				want = append(want, exchangeTCP(t, host, 0, 5)...)
				want = append(want, exchangeUDP(t, host)...)
				got := ledger{}
				drain(t, k, got)
				for _, w := range want {
					r := got[w.key]
					if r == nil {
						t.Errorf("%v: not seen", w.key)
						continue
					}
					if r.Sent != w.sent || r.Received != w.received || r.Result != w.result {
						t.Errorf("%v: sent %d received %d result %d, want %d %d %d",
							w.key, r.Sent, r.Received, r.Result, w.sent, w.received, w.result)
					}
				}
				if t.Failed() {
					t.Logf("seen:\n%v", got)
				}
				noLosses(t, k)
			})
		}
	}
}

type row struct {
	key            ledgerKey
	sent, received uint64
	result         uint8
}

func rowOf(kind uint8, proto uint16, remote net.Addr, sent, received int, result uint8) row {
	at := netip.MustParseAddrPort(remote.String())
	return row{
		ledgerKey{uint32(os.Getpid()), kind, proto, netip.AddrPortFrom(at.Addr().Unmap(), at.Port())},
		uint64(sent), uint64(received), result,
	}
}

// exchangeTCP moves bytes both ways over one connection, which both ends close.
func exchangeTCP(t *testing.T, host string, there, back int) []row {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	ln, err := config.Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_, err = io.CopyN(io.Discard, c, int64(there))
		}
		if err == nil {
			_, err = c.Write(make([]byte, back))
			c.Close()
		}
		served <- err
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, there)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, c); err != nil || n != int64(back) {
		t.Fatalf("got %d bytes back, %v; want %d", n, err, back)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	local := c.LocalAddr()
	c.Close()
	ln.Close()
	return []row{
		rowOf(FlowConnect, 6, ln.Addr(), there, back, ResultClosed),
		rowOf(FlowAccept, 6, local, back, there, ResultClosed),
	}
}

// exchangeUDP sends from a connected socket to an unconnected one, and back.
func exchangeUDP(t *testing.T, host string) []row {
	t.Helper()
	server, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := net.Dial("udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	buf := make([]byte, 65536)
	sent, echoed := 0, 0
	for _, size := range []int{1, 1000, 9000, 0} {
		if _, err := client.Write(buf[:size]); err != nil {
			t.Fatal(err)
		}
		n, from, err := server.ReadFrom(buf)
		if err != nil || n != size {
			t.Fatalf("read %d bytes, %v; want %d", n, err, size)
		}
		if _, err := server.WriteTo(buf[:size/2], from); err != nil {
			t.Fatal(err)
		}
		if n, err = client.Read(buf); err != nil || n != size/2 {
			t.Fatalf("read %d bytes, %v; want %d", n, err, size/2)
		}
		sent, echoed = sent+size, echoed+size/2
	}
	server.Close()
	client.Close()
	return []row{
		rowOf(FlowConnect, 17, server.LocalAddr(), sent, echoed, ResultClosed),
		rowOf(FlowDatagram, 17, client.LocalAddr(), echoed, sent, ResultClosed),
	}
}
