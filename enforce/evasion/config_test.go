package evasion

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// configAttempts set the network up so that a permitted address leads to the
// forbidden one. All of them need CAP_NET_ADMIN.
func configAttempts() []attempt {
	return []attempt{
		{name: "translate", does: "an nftables rule that translates a permitted address to the forbidden one (DNAT)", result: stopped, by: atEgress, act: translate},
		{name: "segment-route", does: "a route that wraps packets for a permitted address into IPv6 for the forbidden one (`encap seg6`)", result: stopped, by: atEgress,
			needs: []*bpftest.Feature{segmentRoutes()}, act: segmentRoute},
		{name: "mptcp-subflow", does: "MPTCP: a further subflow to the forbidden address, which the permitted peer announces", result: stopped, bare: true,
			by:    "cgroup/connect4: a subflow belongs to who has the first connection",
			needs: []*bpftest.Feature{bpftest.MPTCP()}, between: announce, act: subflow},
	}
}

func translate(p *place) error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	table := conn.AddTable(&nftables.Table{Name: "evade", Family: nftables.TableFamilyIPv4})
	chain := conn.AddChain(&nftables.Chain{Name: "out", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(header(expr.PayloadBaseNetworkHeader, 16, expr.CmpOpEq, p.OpenV4.Addr().AsSlice()),
		&expr.Immediate{Register: 1, Data: p.V4.Addr().AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("add translation: %w", err)
	}
	defer func() { conn.DelTable(table); _ = conn.Flush() }()
	return each(
		func() error {
			return stream(p.OpenV4, func(fd int) error {
				// ends at once, as long as the translation is there
				if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
					return err
				}
				return say(fd, p.OpenV4)
			})
		},
		func() error { return datagram(p.OpenV4, func(fd int) error { return say(fd, p.OpenV4) }) })
}

// segmentRoutes is a route of that kind, added on lo of a namespace for the probe.
func segmentRoutes() *bpftest.Feature {
	return &bpftest.Feature{Name: "seg6-lwtunnel", Since: "4.10", Config: "CONFIG_IPV6_SEG6_LWTUNNEL", Probe: func() error {
		_, err := os.Stat("/proc/sys/net/ipv6/conf/all/seg6_enabled")
		return err
	}}
}

func segmentRoute(p *place) error {
	link, err := netlink.LinkByName(bpftest.LinkName)
	if err != nil {
		return err
	}
	const reduced = 3 // SEG6_IPTUN_MODE_ENCAP_RED: one segment needs no header of its own
	_, to, err := net.ParseCIDR("fd99::/64")
	if err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: to,
		Encap: &netlink.SEG6Encap{Mode: reduced, Segments: []net.IP{p.V6.Addr().AsSlice()}}}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	defer func() { _ = netlink.RouteDel(route) }()
	inside := netip.MustParseAddrPort("[fd99::1]:9090")
	return datagram(inside, func(fd int) error { return say(fd, inside) })
}

// Numbers of linux/mptcp_pm.h.
const (
	mptcpAdd, mptcpFlush, mptcpLimits        = 1, 4, 5
	mptcpAttrAddr, mptcpAttrRcv              = 1, 2
	mptcpAttrSubflows                        = 3
	mptcpAddrFamily                          = 1
	mptcpAddrV4, mptcpAddrFlags              = 3, 6
	mptcpFlagSignal                   uint32 = 1
)

// mptcpOrder asks the path manager of this thread's namespace for something.
func mptcpOrder(command uint8, flags int, attrs ...*nl.RtAttr) error {
	family, err := netlink.GenlFamilyGet("mptcp_pm")
	if err != nil {
		return fmt.Errorf("find path manager: %w", err)
	}
	request := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK|flags)
	request.AddData(&nl.Genlmsg{Command: command, Version: 1})
	for _, a := range attrs {
		request.AddData(a)
	}
	if _, err := request.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return fmt.Errorf("order path manager: %w", err)
	}
	return nil
}

// subflow has the kernel accept what the peer announces, and sends all the time.
func subflow(p *place) error {
	if err := mptcpOrder(mptcpLimits, 0, nl.NewRtAttr(mptcpAttrRcv, nl.Uint32Attr(2)), nl.NewRtAttr(mptcpAttrSubflows, nl.Uint32Attr(2))); err != nil {
		return err
	}
	if err := pause(); err != nil {
		return err
	}
	return with(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, func(fd int) error {
		if err := say(fd, p.OpenV4); err != nil {
			return err
		}
		buf := make([]byte, 2*payloadBytes)
		for range 30 {
			time.Sleep(100 * time.Millisecond) // a subflow is opened by a worker, and may be held meanwhile
			if err := write(fd); err != nil {
				return err
			}
			if _, err := unix.Read(fd, buf); err != nil {
				return fmt.Errorf("read: %w", err)
			}
		}
		return furtherSubflow(fd)
	})
}

// furtherSubflow fails if the connection has its first subflow only.
func furtherSubflow(fd int) error {
	const solMPTCP, mptcpInfo = 284, 1
	info, err := unix.GetsockoptString(fd, solMPTCP, mptcpInfo)
	if err != nil {
		return fmt.Errorf("count subflows: %w", err)
	}
	if info == "" || info[0] == 0 {
		return fmt.Errorf("no further subflow: %w", unix.ECONNREFUSED)
	}
	return nil
}

// announce has the peer tell of its other address.
func announce(r *run) {
	r.Helper()
	addr := nl.NewRtAttr(mptcpAttrAddr|unix.NLA_F_NESTED, nil)
	addr.AddRtAttr(mptcpAddrFamily, nl.Uint16Attr(unix.AF_INET))
	addr.AddRtAttr(mptcpAddrV4, forbiddenV4.AsSlice())
	addr.AddRtAttr(mptcpAddrFlags, nl.Uint32Attr(mptcpFlagSignal))
	err := r.lab.pair.Server.Do(func() error {
		return errors.Join(mptcpOrder(mptcpFlush, 0), mptcpOrder(mptcpAdd, 0, addr))
	})
	if err != nil {
		r.Fatal(err)
	}
}
