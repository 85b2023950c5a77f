package evasion

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/monitor/event"
)

// byName grants names, and what it takes to ask for them.
const byName = `
confine:
  - {id: locked, process: any}
rules:
  - {id: resolver, action: allow, process: any, to: {host: 10.77.0.2, port: 53}}
  - {id: local, action: allow, process: any, to: {scope: loopback}}
  - {id: listeners, action: allow, process: any, direction: [in, listen]}
  - {id: names, action: allow, process: any, to: {host: [good.example, open.example]}}
`

const trusted = "only a name from an answer of a configured resolver to this program's own question allows"

// nameAttempts lie about names.
func nameAttempts() []attempt {
	return []attempt{
		{name: "rogue-resolver", does: "a DNS answer from a resolver of its own", result: stopped, by: trusted, short: true, rules: byName, undecided: event.ActionDeny, act: rogueResolver},
		{name: "foreign-answer", does: "an answer of the configured resolver that carries a permitted name nobody asked for, as a further record and as another question",
			result: stopped, by: trusted, rules: byName, undecided: event.ActionDeny, act: func(p *place) error {
				return knowing(p, func() error {
					_, first := ask(p.OpenV4.Addr(), "more.example.")
					_, second := ask(p.OpenV4.Addr(), "other.example.")
					return errors.Join(first, second)
				})
			}},
		{name: "sni-lie", does: "TLS to the forbidden address with the name of a permitted server (SNI)", result: stopped, by: atConnect + ": a name that a client claims never allows", rules: byName, undecided: event.ActionDeny,
			act: func(p *place) error {
				return knowing(p, func() error {
					c, err := net.DialTimeout("tcp", p.V4.String(), 3*time.Second)
					if err != nil {
						return err
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(time.Second))
					return tls.Client(c, &tls.Config{ServerName: "good.example"}).Handshake()
				})
			}},
		{name: "unseen-name", does: "an address that it got where nobody can see the question (DNS over HTTPS, a list in the program)", result: stopped,
			by: trusted + ": no name, no allow", rules: byName, undecided: event.ActionDeny, act: func(p *place) error { return knowing(p, func() error { return nil }) }},
		{name: "rebinding", does: "a permitted name whose owner lets it mean the forbidden address", result: limit,
			by: "who owns a name chooses its addresses: add `host` networks, `scope` or `port` to the rule, or deny the address", rules: byName, undecided: event.ActionDeny,
			act: func(p *place) error {
				return knowing(p, func() error {
					_, err := ask(p.OpenV4.Addr(), "good.example.")
					return err
				})
			}},
	}
}

// knowing proves that permitted names work, learns in its way, and then tries.
func knowing(p *place, learn func() error) error {
	addr, err := ask(p.OpenV4.Addr(), "open.example.")
	if err == nil {
		err = stream(p.OpenV4, func(fd int) error { return say(fd, netip.AddrPortFrom(addr, p.OpenV4.Port())) })
	}
	if err != nil {
		return errors.New("a permitted name does not work: " + err.Error())
	}
	if err := learn(); err != nil {
		return err
	}
	return each(func() error { return stream(p.V4, func(fd int) error { return say(fd, p.V4) }) },
		func() error { return datagram(p.V4, func(fd int) error { return say(fd, p.V4) }) })
}

// rogueResolver answers itself.
func rogueResolver(p *place) error {
	local := netip.MustParseAddr("127.0.0.1")
	c, err := net.ListenPacket("udp4", net.JoinHostPort(local.String(), "53"))
	if err != nil {
		return err
	}
	defer c.Close()
	go answer(c, p.V4.Addr())
	return knowing(p, func() error {
		_, err := ask(local, "good.example.")
		return err
	})
}

// ask sends one question and returns the address of the answer.
func ask(server netip.Addr, name string) (addr netip.Addr, err error) {
	question := dnsmessage.Message{Header: dnsmessage.Header{ID: uint16(time.Now().UnixNano()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	packet, err := question.Pack()
	if err != nil {
		return addr, err
	}
	err = with(unix.AF_INET, unix.SOCK_DGRAM, 0, func(fd int) error {
		if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(server, 53))); err != nil {
			return fmt.Errorf("connect to resolver: %w", err)
		}
		if _, err := unix.Write(fd, packet); err != nil {
			return fmt.Errorf("ask: %w", err)
		}
		buf := make([]byte, 1500)
		n, err := unix.Read(fd, buf)
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:n]); err != nil || len(m.Answers) == 0 {
			return fmt.Errorf("no answer for %s: %w", name, err)
		}
		if a, ok := m.Answers[0].Body.(*dnsmessage.AResource); ok {
			addr = netip.AddrFrom4(a.A)
		}
		return nil
	})
	time.Sleep(50 * time.Millisecond) // a program that waits gives the answer its best chance to be believed
	return addr, err
}

// resolver is the configured one: the permitted address of the peer.
func (p *peer) resolver(t testing.TB) {
	t.Helper()
	var c net.PacketConn
	err := p.pair.Server.Do(func() (err error) {
		c, err = net.ListenPacket("udp4", net.JoinHostPort(bpftest.ServerV4.String(), "53"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { answer(c, forbiddenV4) })
	t.Cleanup(func() { c.Close(); running.Wait() })
}

// answer answers every question with evil, but for one, until c is closed.
func answer(c net.PacketConn, evil netip.Addr) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var m dnsmessage.Message
		if err != nil || m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		if from.(*net.UDPAddr).Port == peerPort {
			continue // the echo of what was passed on
		}
		if strings.HasPrefix(m.Questions[0].Name.String(), "tunnel.") { // its owner is asked
			_, _ = c.WriteTo(buf[:n], net.UDPAddrFromAddrPort(netip.AddrPortFrom(forbiddenV4, peerPort)))
		}
		m.Response = true
		name := m.Questions[0].Name
		address := evil
		switch {
		case strings.HasPrefix(name.String(), "open."):
			address = bpftest.ServerV4
		case strings.HasPrefix(name.String(), "other."):
			name = dnsmessage.MustNewName("good.example.")
			m.Questions[0].Name = name
		}
		m.Answers = append(m.Answers, record(name, address))
		if strings.HasPrefix(name.String(), "more.") {
			m.Answers = append(m.Answers, record(dnsmessage.MustNewName("good.example."), evil))
			m.Additionals = append(m.Additionals, record(dnsmessage.MustNewName("good.example."), evil))
		}
		if b, err := m.Pack(); err == nil {
			_, _ = c.WriteTo(b, from)
		}
	}
}

func record(name dnsmessage.Name, addr netip.Addr) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60},
		Body: &dnsmessage.AResource{A: addr.As4()}}
}
