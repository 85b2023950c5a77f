package nft_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/enforce/nft"
)

// TestShut: nothing leaves and nothing comes in but on the loopback, until it is
// opened, as often as either is said.
func TestShut(t *testing.T) {
	p, client := pairOf(t)
	cfg := nft.Config{Table: "snitch-test-shut", NetNS: int(p.Client.Fd())}
	t.Cleanup(func() {
		if err := nft.Open(cfg); err != nil {
			t.Error(err)
		}
	})
	passes := func() bool { return client.do(t, ask{Op: "connect", Net: "tcp", Addr: server}).Errno == 0 }
	if !passes() {
		t.Fatal("it does not pass where nothing is shut")
	}
	for range 2 {
		if err := nft.Shut(cfg); err != nil {
			t.Fatal(err)
		}
		if got := client.do(t, ask{Op: "connect", Net: "tcp", Addr: server}); got.Errno == 0 {
			t.Error("a connection passed what is shut")
		}
		// Nobody listens there: that the answer comes says that it passes.
		if got := client.do(t, ask{Op: "connect", Net: "tcp", Addr: netip.MustParseAddrPort("127.0.0.1:9")}); got.Errno != unix.ECONNREFUSED {
			t.Errorf("the loopback: %v, want a refusal", got.Errno)
		}
	}
	for range 2 {
		if err := nft.Open(cfg); err != nil {
			t.Fatal(err)
		}
		if !passes() {
			t.Error("it does not pass any more after opening")
		}
	}
}
