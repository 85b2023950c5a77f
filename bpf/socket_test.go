package bpf

import (
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Plain sockets: what package net does on its own account (MPTCP, poll,
// splice) would be in the way.

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newSocket is a blocking IPv4 socket that is closed at the end of the test.
func newSocket(t testing.TB, kind, proto int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, proto)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}))
	return fd
}

func bind(t testing.TB, fd int) {
	t.Helper()
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
}

func localOf(t testing.TB, fd int) *unix.SockaddrInet4 {
	t.Helper()
	name, err := unix.Getsockname(fd)
	must(t, err)
	return name.(*unix.SockaddrInet4)
}

func portOf(sa *unix.SockaddrInet4) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
}

// tcpPair is a connection of this process with itself: client, server.
func tcpPair(t testing.TB) (client, server int) {
	t.Helper()
	ln := newSocket(t, unix.SOCK_STREAM, 0)
	bind(t, ln)
	must(t, unix.Listen(ln, 8))
	client = newSocket(t, unix.SOCK_STREAM, 0)
	must(t, unix.Connect(client, localOf(t, ln)))
	server, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
	must(t, err)
	t.Cleanup(func() { unix.Close(server) })
	must(t, unix.SetsockoptTimeval(server, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}))
	return client, server
}

func send(t testing.TB, fd, n int) {
	t.Helper()
	got, err := unix.Write(fd, make([]byte, n))
	must(t, err)
	if got != n {
		t.Fatalf("wrote %d bytes, want %d", got, n)
	}
}

// recvAll takes exactly n bytes of a stream.
func recvAll(t testing.TB, fd, n int) {
	t.Helper()
	buf := make([]byte, n)
	for got := 0; got < n; {
		m, err := unix.Read(fd, buf[got:])
		must(t, err)
		if m == 0 {
			t.Fatalf("end of stream after %d bytes, want %d", got, n)
		}
		got += m
	}
}

func mine(kind uint8, proto uint16, remote *unix.SockaddrInet4) ledgerKey {
	return ledgerKey{uint32(os.Getpid()), kind, proto, portOf(remote)}
}

// expect compares one row of the ledger.
func (l ledger) expect(t testing.TB, key ledgerKey, sent, received uint64) *ledgerRow {
	t.Helper()
	r := l[key]
	if r == nil {
		t.Errorf("%v: not seen; there is\n%v", key, l)
		return &ledgerRow{}
	}
	if r.Sent != sent || r.Received != received {
		t.Errorf("%v: sent %d received %d, want %d %d", key, r.Sent, r.Received, sent, received)
	}
	return r
}
