package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"snitch/monitor/event"
)

// TestRealResolvers lets glibc, dig where it is installed, and Go's resolver ask
// a real DNS server in a network namespace, over UDP and, after a truncated
// answer, over TCP, and reads the bytes that crossed.
func TestRealResolvers(t *testing.T) {
	clients := map[string][]string{"glibc": {"getent", "ahosts"}}
	if dig, err := exec.LookPath("dig"); err == nil {
		clients["dig"] = []string{dig, "+tries=1", "+time=2", "@127.0.0.1"}
		clients["dig AAAA"] = []string{dig, "+tries=1", "+time=2", "-t", "AAAA", "@127.0.0.1"}
	}
	for client, args := range clients {
		for _, host := range []string{"small.example", "BiG.example"} {
			t.Run(client+" "+host, func(t *testing.T) {
				s := newRealServer(t)
				out, err := s.run(append(args[:len(args):len(args)], host))
				if err != nil || !strings.Contains(out, "203.0.113.10") && !strings.Contains(out, "2001:db8::10") {
					t.Fatalf("%v: got %v\n%s", args, err, out)
				}
				s.check(t, host)
			})
		}
	}
	for _, host := range []string{"small.example", "big.example"} {
		t.Run("go "+host, func(t *testing.T) {
			s := newRealServer(t)
			r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return s.dial(ctx, network)
			}}
			if addrs, err := r.LookupHost(t.Context(), host+"."); err != nil || len(addrs) == 0 {
				t.Fatalf("got %v, %v", addrs, err)
			}
			s.check(t, host)
		})
	}
}

// realServer is a DNS server on 127.0.0.1:53 of a network namespace of its own,
// which keeps what it receives and sends. All of its sockets and children are
// made by one thread, for the namespace is the thread's.
type realServer struct {
	udp  *net.UDPConn
	tcp  *net.TCPListener
	work chan func()
	wg   sync.WaitGroup

	mu   sync.Mutex
	seen []event.Payload
}

func newRealServer(t *testing.T) *realServer {
	t.Helper()
	s := &realServer{work: make(chan func())}
	started := make(chan error)
	s.wg.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		started <- s.listen()
		for f := range s.work {
			f()
		}
	})
	t.Cleanup(func() {
		close(s.work)
		if s.udp != nil {
			s.udp.Close()
		}
		if s.tcp != nil {
			s.tcp.Close()
		}
		s.wg.Wait()
	})
	if err := <-started; errors.Is(err, unix.EPERM) {
		t.Skip("missing feature: CAP_SYS_ADMIN (network namespaces)")
	} else if err != nil {
		t.Fatal(err)
	}
	s.wg.Go(s.serveUDP)
	s.wg.Go(s.serveTCP)
	return s
}

func (s *realServer) listen() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return err
	}
	if s.udp, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53}); err != nil {
		return err
	}
	s.tcp, err = net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53})
	return err
}

func (s *realServer) dial(ctx context.Context, network string) (conn net.Conn, err error) {
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		conn, err = (&net.Dialer{}).DialContext(ctx, network[:3]+"4", "127.0.0.1:53")
	}
	<-done
	return conn, err
}

// run executes args in the namespace, with a resolv.conf that names the server.
func (s *realServer) run(args []string) (out string, err error) {
	done := make(chan struct{})
	s.work <- func() {
		defer close(done)
		dir, e := os.MkdirTemp("", "resolv")
		if e != nil {
			err = e
			return
		}
		defer os.RemoveAll(dir)
		conf, nss := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "nsswitch.conf")
		err = errors.Join(os.WriteFile(conf, []byte("nameserver 127.0.0.1\n"), 0o644), os.WriteFile(nss, []byte("hosts: files dns\n"), 0o644))
		if err != nil {
			return
		}
		script := `mount --bind "$1" /etc/resolv.conf && { [ ! -e /etc/nsswitch.conf ] || mount --bind "$2" /etc/nsswitch.conf; } && shift 2 && exec "$@"`
		data, e := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", script, "sh", conf, nss}, args...)...).CombinedOutput()
		out, err = string(data), e
	}
	<-done
	return out, err
}

func (s *realServer) keep(kind event.PayloadKind, proto uint16, port uint16, seq int, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, event.Payload{Kind: kind, ID: alice, Cookie: uint64(proto)<<16 | uint64(port), Proto: proto, NetNS: hostNS,
		Remote: netip.MustParseAddrPort("127.0.0.1:53"), Seq: uint32(seq), Length: uint32(len(data)), Data: append([]byte(nil), data...)})
}

func (s *realServer) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, peer, err := s.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		s.keep(event.PayloadDNSQuery, event.ProtoUDP, peer.Port(), 0, buf[:n])
		if out, err := realAnswer(buf[:n], true); err == nil {
			s.keep(event.PayloadDNSAnswer, event.ProtoUDP, peer.Port(), 0, out)
			_, _ = s.udp.WriteToUDPAddrPort(out, peer)
		}
	}
}

func (s *realServer) serveTCP() {
	for {
		c, err := s.tcp.AcceptTCP()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.serveConn(c) })
	}
}

func (s *realServer) serveConn(c *net.TCPConn) {
	defer c.Close()
	port := c.RemoteAddr().(*net.TCPAddr).AddrPort().Port()
	in, out := 0, 0
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		s.keep(event.PayloadDNSQuery, event.ProtoTCP, port, in, head)
		s.keep(event.PayloadDNSQuery, event.ProtoTCP, port, in+2, body)
		in += 2 + len(body)
		answer, err := realAnswer(body, false)
		if err != nil {
			return
		}
		answer = framed(answer)
		s.keep(event.PayloadDNSAnswer, event.ProtoTCP, port, out, answer[:20])
		s.keep(event.PayloadDNSAnswer, event.ProtoTCP, port, out+20, answer[20:])
		out += len(answer)
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// realAnswer truncates what it says about big.example over UDP to nothing.
func realAnswer(query []byte, udp bool) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals, m.AuthenticData = true, true, nil, false
	if udp && strings.HasPrefix(strings.ToLower(q.Name.String()), "big.") {
		m.Truncated = true
		return m.Pack()
	}
	cdn := dnsmessage.MustNewName("cdn.example.net.")
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}
	m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: cdn}})
	h.Name = cdn
	switch q.Type {
	case dnsmessage.TypeA:
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: web.As4()}})
	case dnsmessage.TypeAAAA:
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr("2001:db8::10").As16()}})
	}
	return m.Pack()
}

func (s *realServer) check(t *testing.T, host string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	b := newBook(t)
	tcp := false
	asked := map[dnsmessage.Type]bool{}
	for _, p := range s.seen {
		b.Payload(p)
		tcp = tcp || p.Proto == event.ProtoTCP
		if q, err := parseQuery(p.Data); err == nil && p.Kind == event.PayloadDNSQuery {
			asked[q.typ] = true
		}
	}
	host = strings.ToLower(host)
	if asked[dnsmessage.TypeA] {
		b.want(alice, web, host, event.NameDNS)
	}
	if asked[dnsmessage.TypeAAAA] {
		b.want(alice, netip.MustParseAddr("2001:db8::10"), host, event.NameDNS)
	}
	if st := b.Stats(); len(asked) == 0 || st.Unpaired != 0 || st.Malformed != 0 || st.Pending != 0 {
		t.Errorf("asked %v: got %d unpaired, %d malformed, %d pending, want 0", asked, st.Unpaired, st.Malformed, st.Pending)
	}
	if want := strings.HasPrefix(host, "big."); tcp != want {
		t.Errorf("over TCP: got %v, want %v", tcp, want)
	}
}
