package bpf

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"snitch/bpf/features"
)

// without runs f while a program is detached: a kernel that skips the program's
// runs, as often as f likes.
func (k *Kernel) without(t *testing.T, cgroup, program string, f func()) {
	t.Helper()
	at, where := 0, slices.IndexFunc(k.mechs, func(m Mechanism) bool { return m.Program == program })
	for _, m := range k.mechs[:where] {
		if !strings.HasPrefix(m.AttachPoint, "iter/") {
			at++
		}
	}
	must(t, k.links[at].Close())
	k.links = slices.Delete(k.links, at, at+1)
	k.mechs = slices.Delete(k.mechs, where, where+1)
	f()
	for _, h := range hooksOf(k.tier) {
		if h.program == program {
			must(t, k.attach(h, cgroup))
		}
	}
}

// healed is how many bytes were found missing when sockets were closed.
func healed(t testing.TB, k *Kernel) (sent, received uint64) {
	t.Helper()
	if v := k.coll.Variables["healed_sent"]; v != nil {
		must(t, v.Get(&sent))
		must(t, k.coll.Variables["healed_received"].Get(&received))
	}
	return sent, received
}

func expectHealed(t testing.TB, k *Kernel, sent, received uint64) {
	t.Helper()
	if s, r := healed(t, k); s != sent || r != received {
		t.Errorf("%d sent and %d received were found missing, want %d and %d", s, r, sent, received)
	}
}

// skippable are the programs by tier that count what is sent, what is received by TCP, and the
// life of connections.
var skippable = []struct {
	tier             features.Tier
	send, recv, life string
}{
	{features.TierReference, "send_length", "tcp_received", "set_state"},
	{features.TierFexit, "sent", "tcp_received", "set_state"},
}

func forSkippable(t *testing.T, f func(t *testing.T, k *Kernel, cgroup, send, recv, life string)) {
	for _, s := range skippable {
		t.Run(s.tier.String(), func(t *testing.T) {
			cgroup := enter(t)
			f(t, loadTierAt(t, s.tier, cgroup), cgroup, s.send, s.recv, s.life)
		})
	}
}

// finishes close both ends, each in one of the ways that connections end.
var finishes = []struct {
	name  string
	close func(t *testing.T, client, server int)
}{
	{"close", func(t *testing.T, client, server int) {
		must(t, unix.Close(client))
		must(t, unix.Close(server))
	}},
	{"shut down first", func(t *testing.T, client, server int) {
		must(t, unix.Shutdown(client, unix.SHUT_WR))
		end(t, server)
		must(t, unix.Shutdown(server, unix.SHUT_WR))
		end(t, client)
		must(t, unix.Close(client))
		must(t, unix.Close(server))
	}},
	{"reset", func(t *testing.T, client, server int) {
		must(t, unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		must(t, unix.Close(client))
		if _, err := unix.Read(server, make([]byte, 1)); err != unix.ECONNRESET {
			t.Fatalf("read: %v, want the reset", err)
		}
		must(t, unix.Close(server))
	}},
}

// end reads the end of a stream.
func end(t *testing.T, fd int) {
	t.Helper()
	if n, err := unix.Read(fd, make([]byte, 1)); n != 0 || err != nil {
		t.Fatalf("read %d, %v; want the end", n, err)
	}
}

// What was sent and received while the kernel skipped the programs is found
// when the sockets are closed, to the byte, after whatever was counted.
func TestHealsSkippedCalls(t *testing.T) {
	forSkippable(t, func(t *testing.T, k *Kernel, cgroup, sending, receiving, _ string) {
		var sent, received uint64
		for _, finish := range finishes {
			client, server := tcpPair(t)
			at, from := localOf(t, server), localOf(t, client)
			l := ledger{}
			send(t, client, 1000)
			recvAll(t, server, 1000)
			drain(t, k, l)
			send(t, server, 7)
			recvAll(t, client, 7)
			k.without(t, cgroup, sending, func() {
				send(t, client, 70_000)
				recvAll(t, server, 70_000)
				send(t, server, 5)
				recvAll(t, client, 5)
			})
			drain(t, k, l)
			send(t, client, 200)
			k.without(t, cgroup, receiving, func() { recvAll(t, server, 200) })
			finish.close(t, client, server)
			drain(t, k, l)
			l.expect(t, mine(FlowConnect, 6, at), 71_200, 12)
			l.expect(t, mine(FlowAccept, 6, from), 12, 71_200)
			sent, received = sent+70_005, received+200
			expectHealed(t, k, sent, received)
		}
	})
}

// A connection whose beginning was skipped is still one of its own, not its
// listener's, and ended as it ended.
func TestHealsSkippedBeginnings(t *testing.T) {
	forSkippable(t, func(t *testing.T, k *Kernel, cgroup, sending, _, life string) {
		for _, n := range []int{0, 300} {
			ln := newSocket(t, unix.SOCK_STREAM, 0)
			bind(t, ln)
			must(t, unix.Listen(ln, 8))
			client := newSocket(t, unix.SOCK_STREAM, 0)
			server := -1
			k.without(t, cgroup, life, func() {
				var err error
				must(t, unix.Connect(client, localOf(t, ln)))
				server, _, err = unix.Accept4(ln, unix.SOCK_CLOEXEC)
				must(t, err)
			})
			at, from := localOf(t, server), localOf(t, client)
			l := ledger{}
			drain(t, k, l)
			if n > 0 {
				send(t, client, n)
				recvAll(t, server, n)
				send(t, server, 2*n)
				recvAll(t, client, 2*n)
				k.without(t, cgroup, sending, func() { send(t, client, n) })
				recvAll(t, server, n)
				k.without(t, cgroup, sending, func() { send(t, server, n) })
				recvAll(t, client, n)
			}
			must(t, unix.Close(client))
			must(t, unix.Close(server))
			must(t, unix.Close(ln))
			drain(t, k, l)
			rows := map[ledgerKey][2]int{
				mine(FlowConnect, 6, at):  {2 * n, 3 * n},
				mine(FlowAccept, 6, from): {3 * n, 2 * n},
				{pid: uint32(os.Getpid()), kind: FlowListen, proto: 6, remote: unspecified}: {0, 0},
			}
			for key, want := range rows {
				if r := l.expect(t, key, uint64(want[0]), uint64(want[1])); r.Result != ResultClosed {
					t.Errorf("%v: result %d, want closed", key, r.Result)
				}
			}
			if len(l) != len(rows) {
				t.Errorf("%d rows, want %d:\n%v", len(l), len(rows), l)
			}
		}
	})
}

// Sequence numbers that do not count this program's bytes, or not from their
// beginning, add nothing.
func TestHealsNothingElse(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, k func() *Kernel)
	}{
		{"older than the monitor", func(t *testing.T, k func() *Kernel) {
			client, server := tcpPair(t)
			send(t, client, 500)
			must(t, k().Sockets())
			send(t, client, 20)
			recvAll(t, server, 520)
			unix.Close(client)
			unix.Close(server)
		}},
		{"unread", func(t *testing.T, k func() *Kernel) {
			k()
			client, server := tcpPair(t)
			send(t, client, 500)
			recvAll(t, server, 100)
			unix.Close(client)
			unix.Close(server)
		}},
		{"used again", func(t *testing.T, k func() *Kernel) {
			k()
			client, server := tcpPair(t)
			send(t, client, 500)
			send(t, server, 50)
			must(t, disconnect(client)) // forgets 50 bytes unread
			ln := newSocket(t, unix.SOCK_STREAM, 0)
			bind(t, ln)
			must(t, unix.Listen(ln, 8))
			must(t, unix.Connect(client, localOf(t, ln)))
			send(t, client, 3)
			must(t, disconnect(client))
			unix.Close(client)
			unix.Close(server)
		}},
		{"repair", func(t *testing.T, k func() *Kernel) {
			k()
			client, server := tcpPair(t)
			must(t, unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1))
			must(t, unix.SetsockoptInt(client, unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, 2))
			send(t, client, 400)
			unix.Close(client)
			unix.Close(server)
		}},
		{"kernel TLS", func(t *testing.T, k func() *Kernel) {
			k()
			client, server := tcpPair(t)
			err := unix.SetsockoptString(client, unix.IPPROTO_TCP, unix.TCP_ULP, "tls")
			if err != nil {
				t.Skipf("missing feature: kernel TLS: %v", err)
			}
			info := make([]byte, 40) // tls12_crypto_info_aes_gcm_128
			binary.NativeEndian.PutUint16(info, 0x0303)
			binary.NativeEndian.PutUint16(info[2:], 51)
			must(t, unix.SetsockoptString(client, unix.SOL_TLS, 1, string(info)))
			send(t, client, 1000)
			recvAll(t, server, 1000)
			unix.Close(client)
			unix.Close(server)
		}},
		{"several calls at once", func(t *testing.T, k func() *Kernel) {
			k()
			for range 50 {
				client, server := tcpPair(t)
				done := make(chan error)
				for range 4 {
					go func() {
						_, err := unix.Write(client, make([]byte, 100))
						done <- err
					}()
				}
				for range 4 {
					must(t, <-done)
				}
				unix.Close(client)
				recvAll(t, server, 400)
				unix.Close(server)
			}
		}},
	} {
		for _, s := range skippable {
			t.Run(s.tier.String()+"/"+c.name, func(t *testing.T) {
				needTier(t, s.tier)
				cgroup := enter(t)
				var k *Kernel
				c.run(t, func() *Kernel {
					k = loadTierAt(t, s.tier, cgroup)
					return k
				})
				expectHealed(t, k, 0, 0)
			})
		}
	}
}

// A drain that takes a socket's bytes while it is closed is not a skipped call.
func TestHealsNothingWhileDraining(t *testing.T) {
	const conns = 3000
	k := load(t, Config{})
	stop, done := make(chan struct{}), make(chan error)
	sent := map[netip.AddrPort]uint64{}
	drainAll := func() error {
		return k.Drain(func(f *Flow) {
			sent[netip.AddrPortFrom(netip.AddrFrom16(f.Value.Laddr), f.Value.Lport)] += f.Value.Sent
		})
	}
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := drainAll(); err != nil {
				done <- err
				return
			}
		}
	}()
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
		must(t, unix.Close(c))
		recvAll(t, s, 3)
		must(t, unix.Close(s))
	}
	close(stop)
	must(t, <-done)
	must(t, drainAll())
	var total uint64
	for _, n := range sent {
		total += n
	}
	if total != 3*conns {
		t.Errorf("%d bytes sent, want %d", total, 3*conns)
	}
	noLosses(t, k)
}
