package dns

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"snitch/monitor/event"
)

// ptrServer is a real DNS server on loopback that knows some reverse names.
func ptrServer(t *testing.T, names map[string]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, peer, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if out, err := ptrAnswer(buf[:n], names); err == nil {
				_, _ = conn.WriteToUDPAddrPort(out, peer)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", conn.LocalAddr().String())
	}}
}

func ptrAnswer(query []byte, names map[string]string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	target, ok := names[m.Questions[0].Name.String()]
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	ptr, err := dnsmessage.NewName(target)
	if err != nil {
		return nil, err
	}
	m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypePTR,
		Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.PTRResource{PTR: ptr}}}
	return m.Pack()
}

// helper runs the loop of the helper process at the other end of a pipe.
func helper(t *testing.T, r *net.Resolver) (client io.ReadWriteCloser, wait func() error) {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer there.Close()
		done <- reverseHelper(t.Context(), r, there, there)
	}()
	return here, func() error {
		here.Close()
		return <-done
	}
}

func TestReverseNames(t *testing.T) {
	conn, wait := helper(t, ptrServer(t, map[string]string{
		"10.113.0.203.in-addr.arpa.": "Host.Example.com.", "11.113.0.203.in-addr.arpa.": "bad name.example."}))
	bad, none := netip.MustParseAddr("203.0.113.11"), netip.MustParseAddr("203.0.113.12")
	dir := t.TempDir()
	n, err := New(Config{NetNS: hostNS, HostsFile: filepath.Join(dir, "h"), ResolvedSocket: filepath.Join(dir, "s")},
		Deps{Reverser: NewReverseClient(conn)})
	if err != nil {
		t.Fatal(err)
	}
	b := &book{Names: n, t: t, clock: time.Now()}
	stop := b.run()
	for _, addr := range []netip.Addr{web, bad, none, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("fe80::1"), {}} {
		if got := n.Lookup(alice, 1, event.ProtoTCP, addr, time.Now()); got.Source != event.NameNone {
			t.Errorf("%s: got %+v at once, want none", addr, got)
		}
	}
	eventually(t, "the name", func() bool { return len(n.Changed()) == 1 })
	b.clock = time.Now()
	b.want(alice, web, "host.example.com", event.NameReverse)
	for range 10 {
		b.want(alice, bad, "", event.NameNone)
		b.want(alice, none, "", event.NameNone)
	}
	if s := n.Stats(); s.ReverseAsked != 3 {
		t.Errorf("asked: got %d, want 3: each address once, no loopback or link-local", s.ReverseAsked)
	}
	b.learn(ask(alice), "own.example", 60, web.String())
	b.clock = time.Now()
	b.want(alice, web, "own.example", event.NameDNS)
	stop()
	if err := wait(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("helper: got %v, want the end of its input", err)
	}
}

func TestReverseIsOffByDefault(t *testing.T) {
	b := newBook(t)
	b.want(alice, web, "", event.NameNone)
	if s := b.Stats(); s.ReverseAsked != 0 || len(b.asks) != 0 {
		t.Errorf("asked: got %d, want 0", s.ReverseAsked)
	}
}

// silent is a helper that never answers.
type silent struct{}

func (silent) Reverse(ctx context.Context, _ netip.Addr) (string, error) {
	<-ctx.Done()
	return "", ctx.Err()
}

func TestLookupNeverWaitsForReverse(t *testing.T) {
	b := newBook(t, func(l *limits) { l.reverse = 100 })
	b.reverser = silent{}
	stop := b.run()
	for i := range 5000 {
		b.lookup(alice, 1, netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}))
	}
	s := b.Stats()
	if s.ReverseDropped == 0 || s.ReverseAsked+s.ReverseDropped != 5000 || b.reversed.len() > 100 {
		t.Errorf("got %d asked, %d dropped, %d kept, want 5000 together, some dropped, at most 100 kept",
			s.ReverseAsked, s.ReverseDropped, b.reversed.len())
	}
	stop() // must end although the helper does not
}

func TestReverseClientRefusesWrongAnswers(t *testing.T) {
	for _, line := range []string{"198.51.100.1 other.example\n", "203.0.113.10\n", strings.Repeat("x", 2*maxReverseLine) + "\n", ""} {
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer there.Close()
			_, _ = there.Read(make([]byte, 100))
			_, _ = io.WriteString(there, line)
		}()
		name, err := NewReverseClient(here).Reverse(t.Context(), web)
		if err == nil {
			t.Errorf("answer %.20q: got %q, want an error", line, name)
		}
		here.Close()
		<-done
	}
}

func TestReverseClientEndsWithItsContext(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	go func() { _, _ = there.Read(make([]byte, 100)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewReverseClient(here).Reverse(ctx, web); err == nil {
		t.Error("got nil, want an error")
	}
}

func TestReverseHelperRefusesBadInput(t *testing.T) {
	for _, in := range []string{"not an address\n", "203.0.113.10", strings.Repeat("1", 2*maxReverseLine)} {
		if err := ReverseHelper(t.Context(), strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("%.20q: got nil, want an error", in)
		}
	}
	if err := ReverseHelper(t.Context(), strings.NewReader(""), io.Discard); err != nil {
		t.Errorf("end of input: got %v, want nil", err)
	}
}
