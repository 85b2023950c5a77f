package bpftest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Addresses of a Pair. Prefixes are /24 and /64.
var (
	ClientV4 = netip.MustParseAddr("10.77.0.1")
	ServerV4 = netip.MustParseAddr("10.77.0.2")
	ClientV6 = netip.MustParseAddr("fd77::1")
	ServerV6 = netip.MustParseAddr("fd77::2")
	// BlackholeV4 has a link-layer address and nobody who answers: a SYN to it
	// is silently dropped.
	BlackholeV4 = netip.MustParseAddr("10.77.0.66")
	// AbsentV4 is on the link and answers no ARP: host unreachable.
	AbsentV4 = netip.MustParseAddr("10.77.0.67")
	// NoRouteV4 has no route: connect fails at once.
	NoRouteV4 = netip.MustParseAddr("198.51.100.1")
)

// LinkName is the veth's name on both ends.
const LinkName = "veth0"

// Pair is two network namespaces joined by a veth pair.
type Pair struct {
	Client, Server *Namespace
}

// NewPair makes a Pair that ends with the test.
func NewPair(tb testing.TB) *Pair {
	tb.Helper()
	p, err := OpenPair()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Errorf("close network namespaces: %v", err)
		}
	})
	return p
}

// OpenPair makes a Pair: addresses on both ends, ping sockets and TCP fast
// open allowed, no duplicate address detection. The caller closes it.
func OpenPair() (*Pair, error) {
	client, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	server, err := newNamespace()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make network namespace: %w", err), client.Close())
	}
	p := &Pair{Client: client, Server: server}
	if err := errors.Join(prepare(client), prepare(server)); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare network namespaces: %w", err), p.Close())
	}
	if err := p.join(); err != nil {
		return nil, errors.Join(fmt.Errorf("join network namespaces: %w", err), p.Close())
	}
	return p, nil
}

// Close lets go of both namespaces.
func (p *Pair) Close() error { return errors.Join(p.Client.Close(), p.Server.Close()) }

func prepare(ns *Namespace) error {
	return errors.Join(
		ns.Sysctl("ipv4/ping_group_range", "0 2147483647"),
		// 0x203: client, server, and no cookie needed by either.
		ns.Sysctl("ipv4/tcp_fastopen", "519"),
		optional(ns.Sysctl("ipv6/conf/default/accept_dad", "0")),
		optional(ns.Sysctl("ipv4/icmp_ratelimit", "0")),
	)
}

// optional forgives a setting that this kernel does not have.
func optional(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (p *Pair) join() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = LinkName
	attrs.Namespace = netlink.NsFd(p.Client.Fd())
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: LinkName, PeerNamespace: netlink.NsFd(p.Server.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth pair: %w", err)
	}
	if err := p.Client.address(ClientV4, ClientV6); err != nil {
		return err
	}
	if err := p.Server.address(ServerV4, ServerV6); err != nil {
		return err
	}
	return p.blackhole()
}

// blackhole gives BlackholeV4 the server's link-layer address: frames arrive
// there and, with forwarding off, go no further.
func (p *Pair) blackhole() error {
	if err := p.Server.Sysctl("ipv4/ip_forward", "0"); err != nil {
		return err
	}
	mac, err := p.Server.mac()
	if err != nil {
		return err
	}
	return p.Client.withLink(func(h *netlink.Handle, link netlink.Link) error {
		return h.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT,
			Family: netlink.FAMILY_V4, IP: BlackholeV4.AsSlice(), HardwareAddr: mac})
	})
}

// SetMTU sets the largest packet of the veth, in bytes, on both ends.
func (p *Pair) SetMTU(mtu int) error {
	set := func(h *netlink.Handle, link netlink.Link) error { return h.LinkSetMTU(link, mtu) }
	return errors.Join(p.Client.withLink(set), p.Server.withLink(set))
}

// MAC is the server's link-layer address.
func (p *Pair) MAC() (net.HardwareAddr, error) { return p.Server.mac() }

func (n *Namespace) mac() (mac net.HardwareAddr, err error) {
	err = n.withLink(func(_ *netlink.Handle, link netlink.Link) error {
		mac = link.Attrs().HardwareAddr
		return nil
	})
	return mac, err
}

func (n *Namespace) address(v4, v6 netip.Addr) error {
	return n.withLink(func(h *netlink.Handle, link netlink.Link) error {
		for addr, bits := range map[netip.Addr]int{v4: 24, v6: 64} {
			ipnet := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
			if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipnet}); err != nil {
				return fmt.Errorf("add address %s: %w", addr, err)
			}
		}
		return h.LinkSetUp(link)
	})
}

func (n *Namespace) up(name string) error {
	return n.withHandle(func(h *netlink.Handle) error {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		return h.LinkSetUp(link)
	})
}

func (n *Namespace) withLink(f func(*netlink.Handle, netlink.Link) error) error {
	return n.withHandle(func(h *netlink.Handle) error {
		link, err := h.LinkByName(LinkName)
		if err != nil {
			return fmt.Errorf("find link %s: %w", LinkName, err)
		}
		return f(h, link)
	})
}

func (n *Namespace) withHandle(f func(*netlink.Handle) error) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(n.Fd()))
	if err != nil {
		return fmt.Errorf("open netlink in namespace: %w", err)
	}
	defer h.Close()
	return f(h)
}
