package bpf

import (
	"io"
	"net"
	"net/netip"
	"os"
	"testing"

	"snitch/bpf/features"
)

// A connection that is older than the programs belongs to its process, and
// only what comes after is counted.
func TestCountersAdopt(t *testing.T) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dir := enter(t)
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	move := func(from, to net.Conn, n int) {
		t.Helper()
		if _, err := from.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, to, int64(n)); err != nil {
			t.Fatal(err)
		}
	}
	move(c, s, 5000)
	k := loadTierAt(t, features.TierCounters, dir)
	if err := k.Sockets(); err != nil {
		t.Fatal(err)
	}
	listener := ledger{}
	drain(t, k, listener)
	listens := ledgerKey{pid: uint32(os.Getpid()), kind: FlowListen, proto: 6, remote: netip.AddrPortFrom(netip.IPv6Unspecified(), 0)}
	if r := listener[listens]; r == nil || r.Result != ResultListening || r.Flags != FlowExisting {
		t.Errorf("the listener is %+v; seen:\n%v", r, listener)
	}
	move(s, c, 300)
	move(c, s, 7)
	c.Close()
	s.Close()
	got := ledger{}
	drain(t, k, got)
	want := rowOf(FlowConnect, 6, ln.Addr(), 7, 300, ResultClosed)
	r := got[want.key]
	if r == nil || r.Sent != want.sent || r.Received != want.received || r.Flags&FlowExisting == 0 {
		t.Errorf("got %+v, want %+v, existing; seen:\n%v", r, want, got)
	}
}
