package bpf

import (
	"net/netip"
	"os"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

var unspecified = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)

// disconnect undoes connect; package unix has no AF_UNSPEC address.
func disconnect(fd int) error {
	var sa unix.RawSockaddr // AF_UNSPEC
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa)); errno != 0 {
		return errno
	}
	return nil
}

// Four threads send to eight peers each over one socket, and hear from them.
func TestManyPeers(t *testing.T) {
	const threads, peers, rounds = 4, 8, 300
	k := load(t, Config{})
	server := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, server)
	at := localOf(t, server)
	must(t, unix.SetsockoptInt(server, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20))
	var others [peers]int
	for i := range others {
		others[i] = newSocket(t, unix.SOCK_DGRAM, 0)
		bind(t, others[i])
		must(t, unix.SetsockoptInt(others[i], unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20))
	}
	var wg sync.WaitGroup
	errs := make(chan error, threads*2)
	for range threads {
		wg.Go(func() {
			at := &unix.SockaddrInet4{Addr: at.Addr, Port: at.Port} // package unix writes to it
			for range rounds {
				for i, fd := range others {
					errs <- unix.Sendto(server, make([]byte, 10+i), 0, localOf(t, fd))
					errs <- unix.Sendto(fd, make([]byte, 100+i), 0, at)
				}
				for range peers {
					_, _, err := unix.Recvfrom(server, make([]byte, 200), 0)
					errs <- err
				}
			}
		})
	}
	go func() { wg.Wait(); close(errs) }()
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	l := ledger{}
	drain(t, k, l)
	noLosses(t, k)
	losses, err := k.Losses()
	must(t, err)
	var short uint64 // calls without a row
	for i, fd := range others {
		key := mine(FlowDatagram, 17, localOf(t, fd))
		if losses[LossMissed].Count == 0 {
			l.expect(t, key, threads*rounds*uint64(10+i), threads*rounds*uint64(100+i))
		} else if row := l[key]; row != nil {
			short += 2*threads*rounds - row.SentOps - row.RecvOps
		}
	}
	if short > losses[LossMissed].Count {
		t.Errorf("%d calls have no row, the kernel skipped %d", short, losses[LossMissed].Count)
	}
}

// Datagrams that are read without asking for the sender have one all the same.
func TestRecvWithoutAddress(t *testing.T) {
	k := load(t, Config{})
	server := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, server)
	var clients [3]int
	for i := range clients {
		clients[i] = newSocket(t, unix.SOCK_DGRAM, 0)
		bind(t, clients[i])
		must(t, unix.Connect(clients[i], localOf(t, server)))
	}
	for round := range 5 {
		for i, fd := range clients {
			send(t, fd, 10*i+round)
		}
		for range clients {
			_, err := unix.Read(server, make([]byte, 100))
			must(t, err)
		}
	}
	l := ledger{}
	drain(t, k, l)
	for i, fd := range clients {
		l.expect(t, mine(FlowDatagram, 17, localOf(t, fd)), 0, uint64(5*10*i+10))
	}
	l.expect(t, mine(FlowConnect, 17, localOf(t, server)), 10+60+110, 0)
}

// A socket that is connected again, or not any more, counts for the right peer.
func TestUDPReconnect(t *testing.T) {
	k := load(t, Config{})
	var peers [3]int
	for i := range peers {
		peers[i] = newSocket(t, unix.SOCK_DGRAM, 0)
		bind(t, peers[i])
	}
	c := newSocket(t, unix.SOCK_DGRAM, 0)
	must(t, unix.Connect(c, localOf(t, peers[0])))
	send(t, c, 1)
	must(t, unix.Connect(c, localOf(t, peers[1])))
	send(t, c, 20)
	must(t, unix.Sendto(c, make([]byte, 300), 0, localOf(t, peers[0])))
	must(t, unix.Sendto(c, make([]byte, 4000), 0, localOf(t, peers[2])))
	must(t, disconnect(c))
	must(t, unix.Sendto(c, make([]byte, 50000), 0, localOf(t, peers[2])))
	l := ledger{}
	drain(t, k, l)
	for i, want := range []uint64{301, 20, 54000} {
		got := uint64(0)
		for _, kind := range []uint8{FlowConnect, FlowDatagram} {
			if r := l[mine(kind, 17, localOf(t, peers[i]))]; r != nil {
				got += r.Sent
			}
		}
		if got != want {
			t.Errorf("peer %d: %d bytes, want %d\n%v", i, got, want, l)
		}
	}
	noLosses(t, k)
}

// Peeking, and reading in vain, count nothing; nor do they disturb what does.
func TestUDPPeek(t *testing.T) {
	k := load(t, Config{})
	server := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, server)
	c := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, c)
	must(t, unix.Sendto(c, make([]byte, 77), 0, localOf(t, server)))
	buf := make([]byte, 100)
	_, _, err := unix.Recvfrom(server, buf, unix.MSG_PEEK)
	must(t, err)
	_, _, err = unix.Recvfrom(server, buf, 0)
	must(t, err)
	if _, _, err := unix.Recvfrom(server, buf, unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Fatalf("recvfrom: %v, want nothing there", err)
	}
	if err := unix.Sendto(c, make([]byte, 70000), 0, localOf(t, server)); err != unix.EMSGSIZE {
		t.Fatalf("sendto: %v, want too long", err)
	}
	l := ledger{}
	drain(t, k, l)
	l.expect(t, mine(FlowDatagram, 17, localOf(t, c)), 0, 77)
	r := l.expect(t, mine(FlowDatagram, 17, localOf(t, server)), 77, 0)
	if r.SentOps != 1 {
		t.Errorf("%d sends, want 1", r.SentOps)
	}
}

// Raw ICMP: owner and peer, exact bytes as the program gave and got them.
func TestICMP(t *testing.T) {
	k := load(t, Config{})
	fd := newSocket(t, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	echo := []byte{8, 0, 0xf7, 0xff - 1, 0, 0, 0, 1, 0, 0}
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	must(t, unix.Sendto(fd, echo, 0, to))
	got := uint64(0)
	for range 2 { // the request itself and, if the checksum pleases, the answer
		n, _, err := unix.Recvfrom(fd, make([]byte, 100), 0)
		if err == unix.EAGAIN {
			break
		}
		must(t, err)
		got += uint64(n)
	}
	l := ledger{}
	drain(t, k, l)
	key := ledgerKey{uint32(os.Getpid()), FlowRaw, 1, netip.AddrPortFrom(netip.AddrFrom4(to.Addr), 0)}
	l.expect(t, key, uint64(len(echo)), got)
	noLosses(t, k)
}
