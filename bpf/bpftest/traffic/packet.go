package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// etherType is the first of those for local experiments (IEEE 802).
const (
	etherType   = 0x88b5
	etherHeader = 14
	frameSize   = 2048
	ringFrames  = 64
)

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// frames sends frames on one link to one neighbour.
type frames struct {
	link  *net.Interface
	to    net.HardwareAddr
	count int
}

func runPacket(args []string) error {
	f := flags("packet")
	link := f.String("link", "", "name of the link")
	to := f.String("to", "", "link-layer address of the receiver")
	way := f.String("way", "raw", "raw, dgram or ring")
	count := f.Int("count", 20, "frames")
	return reported("packet", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		ifi, err := net.InterfaceByName(*link)
		if err != nil {
			return fmt.Errorf("find link: %w", err)
		}
		mac, err := net.ParseMAC(*to)
		if err != nil {
			return fmt.Errorf("parse address: %w", err)
		}
		s := frames{link: ifi, to: mac, count: *count}
		flow, err := s.run(*way)
		r.Flows = append(r.Flows, flow, report.Flow{Proto: "packet", Family: "packet", Result: "seen", Quiet: true})
		return err
	})
}

func packetFlow(direction string, fd int) report.Flow {
	return report.Flow{Proto: "packet", Family: "packet", Direction: direction, NetNS: socketNamespace(fd), Result: "established|closed"}
}

// packetFound is the row of a packet socket that was looked at while it had
// moved nothing yet.
func packetFound(fd int) report.Flow {
	return report.Flow{Proto: "packet", Family: "packet", NetNS: socketNamespace(fd), Result: "seen", Quiet: true}
}

func (s *frames) run(way string) (report.Flow, error) {
	typ := unix.SOCK_RAW
	if way == "dgram" {
		typ = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_PACKET, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return report.Flow{}, fmt.Errorf("open packet socket: %w", err)
	}
	defer unix.Close(fd)
	flow := packetFlow("out", fd)
	if way == "ring" {
		flow.Sent, err = s.ring(fd)
		return flow, err
	}
	for i := range s.count {
		p := s.frame(i)
		if way == "dgram" {
			p = p[etherHeader:]
		}
		if err := unix.Sendto(fd, p, 0, s.address()); err != nil {
			return flow, fmt.Errorf("send frame: %w", err)
		}
		flow.Sent += uint64(len(p))
	}
	return flow, nil
}

func (s *frames) address() *unix.SockaddrLinklayer {
	a := &unix.SockaddrLinklayer{Protocol: networkOrder(etherType), Ifindex: s.link.Index, Halen: uint8(len(s.to))}
	copy(a.Addr[:], s.to)
	return a
}

func (s *frames) frame(i int) []byte {
	p := make([]byte, 0, frameSize)
	p = append(append(p, s.to...), s.link.HardwareAddr...)
	p = binary.BigEndian.AppendUint16(p, etherType)
	body := p[etherHeader : etherHeader+200+i]
	fill(body, fromClient, 0)
	return p[:etherHeader+len(body)]
}

// packetRing gives the socket a ring and maps it.
func packetRing(fd, option int) ([]byte, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, fmt.Errorf("set packet version: %w", err)
	}
	req := unix.TpacketReq{Block_size: frameSize * ringFrames, Block_nr: 1, Frame_size: frameSize, Frame_nr: ringFrames}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, option, &req); err != nil {
		return nil, fmt.Errorf("set up ring: %w", err)
	}
	mem, err := unix.Mmap(fd, 0, frameSize*ringFrames, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring: %w", err)
	}
	return mem, nil
}

// ring sends through PACKET_TX_RING: the frames are never argument of a call.
func (s *frames) ring(fd int) (uint64, error) {
	mem, err := packetRing(fd, unix.PACKET_TX_RING)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(mem)
	if err := unix.Bind(fd, s.address()); err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	var want uint64
	if s.count > ringFrames {
		return 0, fmt.Errorf("%d frames do not fit in a ring of %d", s.count, ringFrames)
	}
	const headerLen = 32 // TPACKET_ALIGN(sizeof(struct tpacket2_hdr))
	for i := range s.count {
		p := s.frame(i)
		slot := mem[i*frameSize:]
		copy(slot[headerLen:], p)
		h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&slot[0]))
		h.Len = uint32(len(p))
		atomic.StoreUint32(&h.Status, unix.TP_STATUS_SEND_REQUEST)
		want += uint64(len(p))
	}
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, fmt.Errorf("send ring: %w", errno)
	}
	if uint64(n) != want {
		return uint64(n), fmt.Errorf("the ring sent %d bytes of %d", n, want)
	}
	return want, nil
}

// packetService counts frames of the experimental type: `packet LINK`.
type packetService struct {
	*service
	fd   int
	ring []byte // nil: frames are read by calls
	next int    // slot of the ring
}

func listenPacket(sv *service) (running, error) {
	ifi, err := net.InterfaceByName(sv.where)
	if err != nil {
		return nil, fmt.Errorf("find link: %w", err)
	}
	typ := unix.SOCK_RAW
	if sv.option("dgram", "") != "" {
		typ = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_PACKET, typ|unix.SOCK_CLOEXEC, int(networkOrder(etherType)))
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	s := &packetService{service: sv, fd: fd}
	if sv.option("ring", "") != "" {
		if s.ring, err = packetRing(fd, unix.PACKET_RX_RING); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	at := &unix.SockaddrLinklayer{Protocol: networkOrder(etherType), Ifindex: ifi.Index}
	if err := unix.Bind(fd, at); err != nil {
		return nil, errors.Join(fmt.Errorf("bind: %w", err), s.Close())
	}
	return s, nil
}

func (s *packetService) Close() error {
	var err error
	if s.ring != nil {
		err = unix.Munmap(s.ring)
	}
	return errors.Join(err, unix.Close(s.fd))
}

// take reads one frame: by a call, or out of the ring, without one.
func (s *packetService) take(p []byte) (int, error) {
	if s.ring == nil {
		n, _, err := unix.Recvfrom(s.fd, p, 0)
		return n, err
	}
	slot := s.ring[s.next*frameSize : (s.next+1)*frameSize]
	h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&slot[0]))
	if atomic.LoadUint32(&h.Status)&unix.TP_STATUS_USER == 0 {
		return 0, errors.New("the next slot of the ring is empty")
	}
	n := copy(p, slot[h.Mac:uint32(h.Mac)+h.Snaplen])
	atomic.StoreUint32(&h.Status, unix.TP_STATUS_KERNEL)
	s.next = (s.next + 1) % ringFrames
	return n, nil
}

func (s *packetService) serve(stop *atomic.Bool, b *books) {
	flow := packetFlow("in", s.fd)
	p := make([]byte, frameSize)
	head := etherHeader
	if s.option("dgram", "") != "" {
		head = 0
	}
	for readable(s.fd, stop) {
		n, err := s.take(p)
		if err == nil {
			flow.Received += uint64(n)
			err = check(p[min(n, head):n], fromClient, 0)
		}
		if err != nil {
			b.add(fmt.Errorf("receive frame: %w", err))
			break
		}
	}
	b.add(nil, flow, packetFound(s.fd))
}
