package bpf

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Sockets that are older than the monitor: told with who began them, and only
// what comes after is counted.
func TestExistingSockets(t *testing.T) {
	cgroup := enter(t)
	client, server := tcpPair(t)
	at, from := localOf(t, server), localOf(t, client)
	send(t, client, 1000)
	recvAll(t, server, 400) // 600 bytes wait in the socket
	send(t, server, 50)
	udp := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, udp)
	peer := newSocket(t, unix.SOCK_DGRAM, 0)
	must(t, unix.Connect(peer, localOf(t, udp)))
	send(t, peer, 7)
	packet, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(packet)

	k := loadIn(t, cgroup, Config{})
	must(t, k.Sockets())
	must(t, k.Sockets()) // once is enough
	recvAll(t, server, 600)
	send(t, client, 5)
	send(t, peer, 30)
	recvAll(t, client, 50)
	l := ledger{}
	drain(t, k, l)
	for key, want := range map[ledgerKey][2]uint64{
		mine(FlowConnect, 6, at):                                        {5, 50},
		mine(FlowAccept, 6, from):                                       {0, 600},
		mine(FlowConnect, 17, localOf(t, udp)):                          {30, 0},
		{pid: uint32(os.Getpid()), kind: FlowSeen, remote: unspecified}: {0, 0},
	} {
		if r := l.expect(t, key, want[0], want[1]); key.kind != FlowSeen && r.Flags&FlowExisting == 0 {
			t.Errorf("%v: flags %d, want existing", key, r.Flags)
		}
	}
	if r := l[ledgerKey{pid: uint32(os.Getpid()), kind: FlowSeen, remote: unspecified}]; r != nil && (r.flows != 1 || r.Family != unix.AF_PACKET) {
		t.Errorf("packet socket told %d times, family %d", r.flows, r.Family)
	}
	noLosses(t, k)
}

// What is in scope is so however deep hosts nest cgroups.
func TestExistingSocketsFarBelow(t *testing.T) {
	scope := enter(t)
	deep := scope
	for range 40 {
		deep += "/x"
		must(t, os.Mkdir(deep, 0o755))
	}
	must(t, os.WriteFile(deep+"/cgroup.procs", []byte("0"), 0))
	client, server := tcpPair(t)
	k := loadIn(t, scope, Config{})
	must(t, k.Sockets())
	send(t, client, 5)
	recvAll(t, server, 5)
	l := ledger{}
	drain(t, k, l)
	l.expect(t, mine(FlowConnect, 6, localOf(t, server)), 5, 0)
	l.expect(t, mine(FlowAccept, 6, localOf(t, client)), 0, 5)
	noLosses(t, k)
}

// A stream socket that is neither connected nor listening when it is found did
// nothing yet, and what it does later is not told as older than the monitor.
func TestIdleStreams(t *testing.T) {
	k := load(t, Config{})
	ln, client := newSocket(t, unix.SOCK_STREAM, 0), newSocket(t, unix.SOCK_STREAM, 0)
	must(t, k.Sockets())
	bind(t, ln)
	must(t, unix.Listen(ln, 1))
	must(t, unix.Connect(client, localOf(t, ln)))
	send(t, client, 10)
	l := ledger{}
	drain(t, k, l)
	l.expect(t, mine(FlowConnect, 6, localOf(t, ln)), 10, 0)
	for key, r := range l {
		if r.Flags&FlowExisting != 0 || key.kind == FlowConnect && key.remote == unspecified {
			t.Errorf("%v: flags %d", key, r.Flags)
		}
	}
	noLosses(t, k)
}

// Frames of packet sockets count whole.
func TestPacketSocket(t *testing.T) {
	const ethertype = 0x88b5 // for local experiments
	k := load(t, Config{})
	wire := uint16(ethertype>>8 | ethertype&0xff<<8)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(wire))
	must(t, err)
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Protocol: wire, Ifindex: 1, Halen: 6}
	must(t, unix.Bind(fd, to))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}))
	frame := make([]byte, 333)
	frame[12], frame[13] = ethertype>>8, ethertype&0xff
	must(t, unix.Sendto(fd, frame, 0, to))
	n, err := unix.Read(fd, make([]byte, 1000))
	must(t, err)
	l := ledger{}
	drain(t, k, l)
	l.expect(t, ledgerKey{uint32(os.Getpid()), FlowPacket, ethertype, unspecified}, 333, uint64(n))
	noLosses(t, k)
}

// A v6 socket that talks v4 has v4 peers, connected or not.
func TestMappedAddresses(t *testing.T) {
	k := load(t, Config{})
	server := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, server)
	at := localOf(t, server)
	mapped := &unix.SockaddrInet6{Port: at.Port, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}}
	for i, connected := range []bool{false, true} {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		if connected {
			must(t, unix.Connect(fd, mapped))
			send(t, fd, 10)
		} else {
			must(t, unix.Sendto(fd, make([]byte, 100), 0, mapped))
		}
		_, from, err := unix.Recvfrom(server, make([]byte, 200), 0)
		must(t, err)
		must(t, unix.Sendto(server, make([]byte, 3), 0, from))
		_, _, err = unix.Recvfrom(fd, make([]byte, 10), 0)
		must(t, err)
		l := ledger{}
		drain(t, k, l)
		l.expect(t, mine([]uint8{FlowDatagram, FlowConnect}[i], 17, at), []uint64{100, 10}[i], 3)
	}
	noLosses(t, k)
}
