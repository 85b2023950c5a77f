package cut_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/enforce/cut"
)

// sockDestroy is the feature that everything here needs.
func sockDestroy() *bpftest.Feature {
	return &bpftest.Feature{Name: "SOCK_DESTROY", Config: "CONFIG_INET_DIAG_DESTROY", Probe: func() error {
		c, err := cut.Open(0)
		if err != nil {
			return err
		}
		defer c.Close()
		// Nobody has this socket: TEST-NET-1 is not routed.
		_, err = c.Cut([]cut.Flow{{Proto: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("192.0.2.1:1"), Remote: netip.MustParseAddrPort("192.0.2.2:1")}})
		return err
	}}
}

func open(t testing.TB, ns *bpftest.Namespace) *cut.Cutter {
	t.Helper()
	bpftest.Need(t, sockDestroy())
	c, err := cut.Open(ns.Fd())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// sink accepts and keeps connections in a namespace until the test ends.
func sink(t testing.TB, ns *bpftest.Namespace, network, addr string) net.Addr {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) {
		l, err = net.Listen(network, addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var kept []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			kept = append(kept, c)
		}
		for _, c := range kept {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr()
}

func dial(t testing.TB, ns *bpftest.Namespace, network, addr string) net.Conn {
	t.Helper()
	var c net.Conn
	err := ns.Do(func() (err error) {
		c, err = net.Dial(network, addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func flowOf(c net.Conn) cut.Flow {
	switch local := c.LocalAddr().(type) {
	case *net.TCPAddr:
		return cut.Flow{Proto: unix.IPPROTO_TCP, Local: local.AddrPort(), Remote: c.RemoteAddr().(*net.TCPAddr).AddrPort()}
	case *net.UDPAddr:
		return cut.Flow{Proto: unix.IPPROTO_UDP, Local: local.AddrPort(), Remote: c.RemoteAddr().(*net.UDPAddr).AddrPort()}
	}
	return cut.Flow{}
}

func cookie(t testing.TB, c net.Conn) (out uint64) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctl := raw.Control(func(fd uintptr) { out, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_COOKIE) }); ctl != nil || err != nil {
		t.Fatal(ctl, err)
	}
	return out
}

// aborted reports how the next read of c ends.
func aborted(c net.Conn) error {
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	_, err := c.Read(make([]byte, 1))
	return err
}

// TestCut destroys what is named, in another namespace, and nothing else.
func TestCut(t *testing.T) {
	ns := bpftest.NewNamespace(t)
	c := open(t, ns)
	for _, x := range []struct{ network, addr string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp", "[::]:0"}} {
		to := sink(t, ns, x.network, x.addr).(*net.TCPAddr)
		if to.IP.IsUnspecified() {
			to.IP = net.IPv4(127, 0, 0, 1)
		}
		victim, other := dial(t, ns, "tcp", to.String()), dial(t, ns, "tcp", to.String())
		got, err := c.Cut([]cut.Flow{flowOf(victim)})
		if err != nil || got != (cut.Result{Cut: 1}) {
			t.Fatalf("%s: got %+v, %v, want one cut", x.network, got, err)
		}
		if err := aborted(victim); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("%s: got %v, want ECONNABORTED", x.network, err)
		}
		if _, err := other.Write([]byte("x")); err != nil {
			t.Errorf("%s: the other connection: %v", x.network, err)
		}
		if got, err := c.Cut([]cut.Flow{flowOf(victim)}); err != nil || got.Gone != 1 {
			t.Errorf("%s again: got %+v, %v, want it gone", x.network, got, err)
		}
	}
}

// TestCutDatagrams destroys connected UDP sockets of both families.
func TestCutDatagrams(t *testing.T) {
	ns := bpftest.NewNamespace(t)
	c := open(t, ns)
	for _, addr := range []string{"127.0.0.1:9", "[::1]:9"} {
		victim := dial(t, ns, "udp", addr)
		got, err := c.Cut([]cut.Flow{flowOf(victim)})
		if err != nil || got.Cut != 1 {
			t.Fatalf("%s: got %+v, %v, want one cut", addr, got, err)
		}
		if err := aborted(victim); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("%s: got %v, want ECONNABORTED", addr, err)
		}
	}
}

// TestCookie spares a socket that has the addresses of the one that was meant.
func TestCookie(t *testing.T) {
	ns := bpftest.NewNamespace(t)
	c := open(t, ns)
	conn := dial(t, ns, "tcp", sink(t, ns, "tcp4", "127.0.0.1:0").String())
	f := flowOf(conn)
	f.Cookie = cookie(t, conn) + 1
	if got, err := c.Cut([]cut.Flow{f}); err != nil || got.Gone != 1 {
		t.Errorf("wrong cookie: got %+v, %v, want it gone", got, err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Errorf("wrong cookie: the connection was cut: %v", err)
	}
	f.Cookie--
	if got, err := c.Cut([]cut.Flow{f}); err != nil || got.Cut != 1 {
		t.Errorf("right cookie: got %+v, %v, want it cut", got, err)
	}
}

// TestPeerLearns holds that the other end is reset.
func TestPeerLearns(t *testing.T) {
	p := bpftest.NewPair(t)
	c := open(t, p.Client)
	var l net.Listener
	if err := p.Server.Do(func() (err error) { l, err = net.Listen("tcp", bpftest.ServerV4.String()+":80"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn := dial(t, p.Client, "tcp", l.Addr().String())
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if _, err := c.Cut([]cut.Flow{flowOf(conn)}); err != nil {
		t.Fatal(err)
	}
	if err := aborted(peer); !errors.Is(err, unix.ECONNRESET) || errors.Is(err, io.EOF) {
		t.Errorf("the peer got %v, want ECONNRESET", err)
	}
}

const many = 1000

// TestThousand cuts many flows and says how long it took.
func TestThousand(t *testing.T) {
	ns := bpftest.NewNamespace(t)
	c := open(t, ns)
	to := sink(t, ns, "tcp4", "127.0.0.1:0").String()
	var conns []net.Conn
	var flows []cut.Flow
	for range many {
		conn := dial(t, ns, "tcp", to)
		conns, flows = append(conns, conn), append(flows, flowOf(conn))
	}
	began := time.Now()
	got, err := c.Cut(flows)
	took := time.Since(began)
	if err != nil || got.Cut != many {
		t.Fatalf("got %+v, %v, want %d cut", got, err, many)
	}
	t.Logf("%d flows in %s", many, took)
	if took > time.Second {
		t.Errorf("%d flows took %s", many, took)
	}
	for i, conn := range conns {
		if err := aborted(conn); !errors.Is(err, unix.ECONNABORTED) {
			t.Fatalf("connection %d: got %v, want ECONNABORTED", i, err)
		}
	}
}

// TestBound finds a socket that is bound to an interface only by that.
func TestBound(t *testing.T) {
	ns := bpftest.NewNamespace(t)
	c := open(t, ns)
	const loopback = 1
	for _, x := range []struct{ network, addr string }{{"tcp4", sink(t, ns, "tcp4", "127.0.0.1:0").String()}, {"udp6", "[::1]:9"}} {
		bound := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			ctl := raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "lo") })
			return errors.Join(ctl, err)
		}}
		var conn net.Conn
		err := ns.Do(func() (err error) { conn, err = bound.DialContext(t.Context(), x.network, x.addr); return err })
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		f := flowOf(conn)
		f.Cookie = cookie(t, conn)
		if got, err := c.Cut([]cut.Flow{f}); err != nil || got.Gone != 1 {
			t.Errorf("%s without the interface: got %+v, %v, want none", x.network, got, err)
		}
		f.Interface = loopback
		if got, err := c.Cut([]cut.Flow{f}); err != nil || got.Cut != 1 {
			t.Errorf("%s with it: got %+v, %v, want one cut", x.network, got, err)
		}
	}
}
