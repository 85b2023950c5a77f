package scenario

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

const (
	answeredName = "peer.test"
	answeredWith = "10.77.0.2"
)

// resolver answers in the lab where the C library of this machine asks: at the
// first server that resolv.conf names.
func resolver(t *testing.T, pair *bpftest.Pair) {
	t.Helper()
	at := configured(t)
	ns := pair.Client
	if !at.IsLoopback() {
		ns = pair.Server
		if err := reach(pair, at); err != nil {
			t.Fatal(err)
		}
	}
	var conn net.PacketConn
	err := ns.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", netip.AddrPortFrom(at, 53).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { answerQueries(conn) })
	t.Cleanup(func() {
		_ = conn.Close()
		serving.Wait()
	})
}

// configured is what resolv.conf(5) says; without a word it is this machine.
func configured(t *testing.T) netip.Addr {
	t.Helper()
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		at, err := netip.ParseAddr(fields[1])
		if err != nil || at.Zone() != "" {
			t.Fatalf("resolv.conf names %q: %v", fields[1], err)
		}
		return at
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// reach gives the peer an address, and the client a way to it.
func reach(pair *bpftest.Pair, at netip.Addr) error {
	to := &net.IPNet{IP: at.AsSlice(), Mask: net.CIDRMask(at.BitLen(), at.BitLen())}
	err := onLink(pair.Server, func(h *netlink.Handle, link netlink.Link) error {
		return h.AddrAdd(link, &netlink.Addr{IPNet: to, Flags: unix.IFA_F_NODAD})
	})
	if err != nil {
		return err
	}
	return onLink(pair.Client, func(h *netlink.Handle, link netlink.Link) error {
		return h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: to})
	})
}

func onLink(ns *bpftest.Namespace, f func(*netlink.Handle, netlink.Link) error) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()))
	if err != nil {
		return fmt.Errorf("open netlink in namespace: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(bpftest.LinkName)
	if err != nil {
		return fmt.Errorf("find link: %w", err)
	}
	return f(h, link)
}

func answerQueries(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA && strings.EqualFold(q.Name.String(), answeredName+".") {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
				Body: &dnsmessage.AResource{A: netip.MustParseAddr(answeredWith).As4()}}}
		} else {
			m.RCode = dnsmessage.RCodeNameError
		}
		if text, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(text, from)
		}
	}
}
