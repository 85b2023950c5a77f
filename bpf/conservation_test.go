package bpf

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Sums without keys, for what is too much to tell apart.
type sums struct{ sent, received, sentOps uint64 }

func (s *sums) add(f *Flow) {
	s.sent += f.Value.Sent
	s.received += f.Value.Received
	s.sentOps += f.Value.SentOps
}

// One-byte sends of four threads, each to its peer and to one in common, while
// generations are swapped all the time: not one is lost or counted twice.
func TestSwapLosesNothing(t *testing.T) {
	const threads, each = 4, 260_000
	k := load(t, Config{})
	sink := newSocket(t, unix.SOCK_DGRAM, 0) // full soon; the bytes are sent all the same
	bind(t, sink)
	shared := newSocket(t, unix.SOCK_DGRAM, 0)
	var failed atomic.Uint64
	var wg sync.WaitGroup
	for range threads {
		own := newSocket(t, unix.SOCK_DGRAM, 0)
		bind(t, own)
		wg.Go(func() {
			for i := range each {
				to := sink
				if i%2 == 0 { // not the primary peer: by the flow map
					to = own
				}
				if unix.Sendto(shared, []byte{1}, 0, localOf(t, to)) != nil {
					failed.Add(1)
				}
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
	missed := losses[LossMissed].Count // a byte each, where the kernel skips programs
	want := uint64(threads*each) - failed.Load()
	if got.sent+missed != want || got.sentOps+missed != want {
		t.Errorf("%d bytes in %d sends and %d missed, want %d (%d drains)", got.sent, got.sentOps, missed, want, drains)
	}
	if drains < 10 {
		t.Errorf("only %d drains beside the sends", drains)
	}
	t.Logf("%d sends, %d drains", want, drains)
	noLosses(t, k)
}

// With room for 64 flows, what is not in a flow is counted for its process.
func TestConservationWithFullMap(t *testing.T) {
	const peers, rounds = 300, 20
	k := load(t, Config{FlowEntries: 64})
	server := newSocket(t, unix.SOCK_DGRAM, 0)
	bind(t, server)
	var want uint64
	for i := range peers { // 127.0.0.x:9, nobody listens
		for r := range rounds {
			to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(1 + i/250), byte(1 + i%250)}, Port: 9}
			if unix.Sendto(server, make([]byte, r), 0, to) != nil {
				t.Fatal("send failed")
			}
			want += uint64(r)
		}
	}
	for range 200 { // and short connections, which the ring of 4 KiB cannot hold
		c, s := tcpPair(t)
		send(t, c, 100)
		recvAll(t, s, 100)
		unix.Close(c)
		unix.Close(s)
		want += 100
	}
	var got, lost sums
	must(t, k.Drain(got.add))
	must(t, k.DrainOverflow(func(id ProcessId, l Loss) {
		lost.sent += l.Sent
		lost.received += l.Received
	}))
	losses, err := k.Losses()
	must(t, err)
	if got.sent+lost.sent != want {
		t.Errorf("%d in flows + %d in overflow = %d, want %d", got.sent, lost.sent, got.sent+lost.sent, want)
	}
	if got.received+lost.received != 200*100 {
		t.Errorf("received: %d in flows + %d in overflow, want %d", got.received, lost.received, 200*100)
	}
	if lost.sent == 0 || lost.sent != losses[LossFlowMapFull].Sent || losses[LossOverflowFull].Count != 0 {
		t.Errorf("lost %d, counted %+v", lost.sent, losses)
	}
	t.Logf("flows %d, overflow %d", got.sent, lost.sent)
}

// Short connections as fast as they come, drained when the kernel asks for it.
func TestShortConnections(t *testing.T) {
	const conns = 20_000
	k := load(t, Config{FlowEntries: 16384})
	stop := make(chan struct{})
	var got sums
	var closed atomic.Uint64
	var wg sync.WaitGroup
	wake := make(chan struct{}, 1)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = k.Poll(50*time.Millisecond, func(r []byte) {
				if r[0] == byte(RecordWake) {
					select {
					case wake <- struct{}{}:
					default:
					}
				}
			})
		}
	})
	drainOnce := func() {
		err := k.Drain(func(f *Flow) {
			got.add(f)
			if f.Key.Kind == FlowConnect && f.Value.Flags&FlowClosed != 0 {
				closed.Add(1)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
	wakes := 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-wake:
				wakes++
				drainOnce()
			}
		}
	})
	ln := newSocket(t, unix.SOCK_STREAM, 0)
	bind(t, ln)
	must(t, unix.Listen(ln, 8))
	at := localOf(t, ln)
	for range conns {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		must(t, unix.Connect(c, at))
		s, _, err := unix.Accept4(ln, unix.SOCK_CLOEXEC)
		must(t, err)
		send(t, c, 3)
		recvAll(t, s, 3)
		must(t, unix.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		unix.Close(c)
		unix.Close(s)
	}
	close(stop)
	wg.Wait()
	drainOnce()
	// a slow machine may drain too late: then the rest is in the overflow
	must(t, k.DrainOverflow(func(_ ProcessId, l Loss) {
		got.sent += l.Sent
		got.received += l.Received
	}))
	losses, err := k.Losses()
	must(t, err)
	if got.sent != 3*conns || got.received != 3*conns {
		t.Errorf("sent %d received %d, want %d", got.sent, got.received, 3*conns)
	}
	if lost := losses[LossFlowMapFull].Count; closed.Load()+lost < conns {
		t.Errorf("%d connections closed and %d lost, want %d", closed.Load(), lost, conns)
	}
	if wakes == 0 {
		t.Error("the kernel never asked to be drained")
	}
}
