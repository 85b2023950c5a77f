package bpf

import (
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Where the kernel cannot walk the storage of sockets, their descriptors are
// walked: the same deltas, once each, however many hold a socket.
func TestHeldSockets(t *testing.T) {
	k := load(t, Config{held: true})
	client, server := tcpPair(t)
	at, from := localOf(t, server), localOf(t, client)
	send(t, client, 1000)
	recvAll(t, server, 400)
	twice, err := unix.FcntlInt(uintptr(client), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(twice)
	udp := newSocket(t, unix.SOCK_DGRAM, 0) // a listener: it chose its port
	must(t, unix.Bind(udp, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}, Port: 5353}))

	l := ledger{}
	drain(t, k, l)
	l.expect(t, mine(FlowConnect, 6, at), 1000, 0)
	l.expect(t, mine(FlowAccept, 6, from), 0, 400)
	if l[ledgerKey{pid: uint32(os.Getpid()), kind: FlowListen, proto: 17, remote: unspecified}] == nil {
		t.Errorf("the UDP listener was not told:\n%v", l)
	}
	drain(t, k, l)
	l.expect(t, mine(FlowConnect, 6, at), 1000, 0)

	// While nobody holds a descriptor it is silent, and told when it is back.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	send(t, client, 30)
	must(t, unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(client), nil, 0))
	must(t, unix.Close(client))
	must(t, unix.Close(twice))
	drain(t, k, l)
	l.expect(t, mine(FlowConnect, 6, at), 1000, 0)
	oob := make([]byte, unix.CmsgSpace(4))
	_, _, _, _, err = unix.Recvmsg(pair[1], make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	must(t, err)
	drain(t, k, l)
	l.expect(t, mine(FlowConnect, 6, at), 1030, 0)
	noLosses(t, k)
}

// Sockets close while the drain walks over them. It is what made the kernel
// fall (docs/kernels.md, "A fault of 7.3").
func TestDrainBesideClosing(t *testing.T) {
	for name, cfg := range map[string]Config{"storage": {}, "held": {held: true}} {
		t.Run(name, func(t *testing.T) {
			const threads = 4
			each := 20_000
			if testing.Short() {
				each = 2_000
			}
			k := load(t, cfg)
			sink := newSocket(t, unix.SOCK_DGRAM, 0)
			bind(t, sink)
			var wg sync.WaitGroup
			for range threads {
				at := localOf(t, sink) // the library writes into it
				wg.Go(func() {
					for range each {
						fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
						if err == nil {
							err = unix.Connect(fd, at)
						}
						if err == nil {
							_, err = unix.Write(fd, []byte{1})
						}
						if err != nil {
							t.Error(err)
						}
						unix.Close(fd)
					}
				})
			}
			done := make(chan struct{})
			go func() { wg.Wait(); close(done) }()
			var got sums
			drains := 0
			for running := true; running; drains++ {
				select {
				case <-done:
					running = false
				default:
				}
				must(t, k.Drain(got.add))
			}
			losses, err := k.Losses()
			must(t, err)
			if want := uint64(threads * each); got.sent+losses[LossFlowMapFull].Sent+losses[LossMissed].Count != want {
				t.Errorf("%d bytes, lost %+v, want %d", got.sent, losses, want)
			}
			t.Logf("%d drains", drains)
		})
	}
}
