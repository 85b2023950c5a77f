package evasion

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

// The peer has two addresses of each family: one that rules forbid.
var (
	forbiddenV4 = netip.MustParseAddr("10.77.0.9")
	forbiddenV6 = netip.MustParseAddr("fd77::9")
	otherV4     = netip.MustParseAddr("10.77.0.11") // a second one of the client
)

const (
	peerPort = 9090
	// Nothing but payload is that long: the longest packet without is a TCP
	// header with all options on IPv6.
	payloadBytes = 256
	withPayload  = 120
)

// peer counts what arrives for the forbidden address, or by way of hops that
// the sender named.
type peer struct {
	testing.TB
	pair    *bpftest.Pair
	conn    *nftables.Conn
	any     *nftables.CounterObj
	payload *nftables.CounterObj
	open    atomic.Int64 // connections that are being answered
}

// newPeer makes the peer of a pair: addresses, counters, and a server of both
// protocols.
func newPeer(t testing.TB, pair *bpftest.Pair) *peer {
	t.Helper()
	err := errors.Join(addAddress(pair.Server, forbiddenV4, 24), addAddress(pair.Server, forbiddenV6, 64), addAddress(pair.Client, otherV4, 24),
		pair.Server.Sysctl("ipv4/conf/all/accept_source_route", "1"), pair.Server.Sysctl("ipv4/conf/"+bpftest.LinkName+"/accept_source_route", "1"),
		pair.Client.Sysctl("ipv4/conf/all/rp_filter", "0"), pair.Server.Sysctl("ipv4/conf/all/rp_filter", "0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{TB: t, pair: pair}
	if p.conn, err = nftables.New(nftables.WithNetNSFd(pair.Server.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := p.count(); err != nil {
		t.Fatal(err)
	}
	p.serve(t)
	p.resolver(t)
	return p
}

func addAddress(ns *bpftest.Namespace, addr netip.Addr, bits int) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()))
	if err != nil {
		return fmt.Errorf("open netlink in namespace: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(bpftest.LinkName)
	if err != nil {
		return fmt.Errorf("find link: %w", err)
	}
	ipnet := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, addr.BitLen())}
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipnet, Flags: unix.IFA_F_NODAD}); err != nil {
		return fmt.Errorf("add address %s: %w", addr, err)
	}
	return nil
}

// count makes the counters, where nothing has been put together or translated.
func (p *peer) count() error {
	table := p.conn.AddTable(&nftables.Table{Name: "peer", Family: nftables.TableFamilyINet})
	p.any = p.conn.AddObj(&nftables.CounterObj{Table: table, Name: "any"}).(*nftables.CounterObj)
	p.payload = p.conn.AddObj(&nftables.CounterObj{Table: table, Name: "payload"}).(*nftables.CounterObj)
	found := p.conn.AddChain(&nftables.Chain{Name: "found", Table: table})
	in := p.conn.AddChain(&nftables.Chain{Name: "in", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(-450)})
	add := func(chain *nftables.Chain, parts ...[]expr.Any) {
		p.conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: slices.Concat(parts...)})
	}
	accept := []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	jump := []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: found.Name}}
	// what the client's kernel says of itself is no payload: errors, neighbours
	add(in, l4(unix.IPPROTO_ICMP), header(expr.PayloadBaseTransportHeader, 0, expr.CmpOpNeq, []byte{8}), accept)
	add(in, l4(unix.IPPROTO_ICMPV6), header(expr.PayloadBaseTransportHeader, 0, expr.CmpOpNeq, []byte{128}), accept)
	add(in, family(unix.NFPROTO_IPV4), header(expr.PayloadBaseNetworkHeader, 16, expr.CmpOpEq, forbiddenV4.AsSlice()), jump)
	add(in, family(unix.NFPROTO_IPV6), header(expr.PayloadBaseNetworkHeader, 24, expr.CmpOpEq, forbiddenV6.AsSlice()), jump)
	add(in, family(unix.NFPROTO_IPV4), longHeader(), jump)
	add(in, family(unix.NFPROTO_IPV6), routingHeader(), jump)
	add(found, counter(p.any.Name))
	add(found, longer(withPayload), counter(p.payload.Name))
	if err := p.conn.Flush(); err != nil {
		return fmt.Errorf("count at the peer: %w", err)
	}
	return nil
}

func family(proto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}}}
}

func l4(proto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}}}
}

func header(base expr.PayloadBase, at uint32, op expr.CmpOp, want []byte) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: base, Offset: at, Len: uint32(len(want))}, &expr.Cmp{Op: op, Register: 1, Data: want}}
}

// longHeader is an IPv4 header with options.
func longHeader() []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x0f}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpGt, Register: 1, Data: []byte{5}}}
}

func routingHeader() []expr.Any {
	return []expr.Any{&expr.Exthdr{DestRegister: 1, Type: unix.IPPROTO_ROUTING, Len: 1, Flags: unix.NFT_EXTHDR_F_PRESENT, Op: expr.ExthdrOpIpv6},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{1}}}
}

func longer(than uint32) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyLEN, Register: 1},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpGt, Register: 1, Data: binary.BigEndian.AppendUint32(nil, than)}}
}

func counter(name string) []expr.Any {
	return []expr.Any{&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: name}}
}

// arrived is how many packets came for the forbidden peer since the last reset,
// and how many of them carried payload.
func (p *peer) arrived() (all, payload uint64) {
	p.Helper()
	read := func(c *nftables.CounterObj) uint64 {
		o, err := p.conn.GetObject(c)
		if err != nil {
			p.Fatal(err)
		}
		return o.(*nftables.CounterObj).Packets
	}
	payload = read(p.payload) // each of these is among all
	return read(p.any), payload
}

// calm waits until the connections of an earlier run have ended, to their last
// packet.
func (p *peer) calm() {
	p.Helper()
	last, _ := p.arrived()
	for deadline := time.Now().Add(patience); ; {
		time.Sleep(20 * time.Millisecond)
		now, _ := p.arrived()
		if now == last && p.open.Load() == 0 && !p.speaking() {
			return
		}
		if last = now; time.Now().After(deadline) {
			p.Fatal("connections of an earlier run do not end")
		}
	}
}

// speaking reports whether the client has a connection whose end is not said or
// not acknowledged yet: MPTCP closes its own in its own time.
func (p *peer) speaking() bool {
	p.Helper()
	port := fmt.Sprintf(":%04X", peerPort)
	found := false
	err := p.pair.Client.Do(func() error {
		for _, name := range []string{"tcp", "tcp6"} {
			list, err := os.ReadFile("/proc/thread-self/net/" + name)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(list)) {
				if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[2], port) {
					found = found || slices.Contains([]string{"01", "04", "09", "0B"}, f[3]) // ESTABLISHED, FIN_WAIT1, LAST_ACK, CLOSING
				}
			}
		}
		return nil
	})
	if err != nil {
		p.Fatal(err)
	}
	return found
}

func (p *peer) reset() {
	p.Helper()
	for _, c := range []*nftables.CounterObj{p.any, p.payload} {
		if _, err := p.conn.ResetObject(c); err != nil {
			p.Fatal(err)
		}
	}
}

// serve answers TCP and UDP, both families, with what it is sent.
func (p *peer) serve(t testing.TB) {
	t.Helper()
	var ln net.Listener
	var udp net.PacketConn
	err := p.pair.Server.Do(func() (err error) {
		if ln, err = net.Listen("tcp", ":"+strconv.Itoa(peerPort)); err == nil {
			udp, err = net.ListenPacket("udp", ":"+strconv.Itoa(peerPort))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.open.Add(1)
			running.Go(func() {
				defer p.open.Add(-1)
				echo(c)
			})
		}
	})
	running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := udp.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			_, _ = udp.WriteTo(buf[:n], from)
		}
	})
	t.Cleanup(func() {
		ln.Close()
		udp.Close()
		running.Wait()
	})
}

// echo ends with the connection, or when the other side says nothing for long.
func echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 2048)
	for {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(buf)
		if err == nil {
			_, err = c.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}
