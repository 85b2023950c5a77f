//go:build vm

package lockout

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The machine has one address, to which the others are neighbours.
var (
	machine  = netip.MustParseAddr("10.99.0.1")
	operator = netip.MustParseAddr("10.99.0.2")
	stranger = netip.MustParseAddr("10.99.0.3")
	site     = netip.MustParseAddr("10.99.0.4") // where nobody listens
)

// outside is what lies behind the machine's only interface: hosts that speak
// TCP in this test and have no socket in the kernel, so that nothing there
// judges them. Safe for concurrent use.
type outside struct {
	tun *os.File

	mu    sync.Mutex
	calls map[netip.AddrPort]*call // by the caller's end
	asked int                      // connections that the machine began
	done  chan struct{}
}

// newOutside makes the interface, which goes with the test.
func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{calls: map[netip.AddrPort]*call{}, done: make(chan struct{})}
	if err := o.open(); err != nil {
		t.Fatal(err)
	}
	go o.read()
	t.Cleanup(func() {
		o.tun.Close()
		<-o.done
	})
	return o
}

func (o *outside) open() error {
	const name = "out0"
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("make interface: %w", err)
	}
	o.tun = os.NewFile(uintptr(fd), name)
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface: %w", err)
	}
	addr, err := netlink.ParseAddr(machine.String() + "/24")
	if err == nil {
		err = netlink.AddrAdd(link, addr)
	}
	if err != nil {
		return fmt.Errorf("add address: %w", err)
	}
	return netlink.LinkSetUp(link)
}

// read takes what the machine sends until the interface is closed.
func (o *outside) read() {
	defer close(o.done)
	packet := make([]byte, 1<<16)
	for {
		n, err := o.tun.Read(packet)
		if err != nil {
			return
		}
		if s, ok := parseSegment(packet[:n]); ok {
			o.take(&s)
		}
	}
}

func (o *outside) take(s *segment) {
	o.mu.Lock()
	c := o.calls[s.to]
	if c == nil && s.flags == flagSYN {
		o.asked++
	}
	o.mu.Unlock()
	switch {
	case c != nil:
		select {
		case c.in <- *s:
		default: // the machine sends it again
		}
	case s.flags == flagSYN:
		o.send(&segment{from: s.to, to: s.from, ack: s.seq + 1, flags: flagRST | flagACK})
	}
}

// begun is how many connections of the machine came this far.
func (o *outside) begun() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

// send ignores errors: who waits for an answer sees that none comes.
func (o *outside) send(s *segment) { _, _ = o.tun.Write(s.packet()) }

const (
	flagFIN, flagSYN, flagRST, flagPSH, flagACK = 1, 2, 4, 8, 16
)

// segment is one of TCP over IPv4.
type segment struct {
	from, to netip.AddrPort
	seq, ack uint32
	flags    byte
	payload  []byte
}

const ipHeader, tcpHeader = 20, 20

func parseSegment(p []byte) (s segment, ok bool) {
	if len(p) < ipHeader || p[0]>>4 != 4 || p[9] != unix.IPPROTO_TCP {
		return s, false
	}
	at, end := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if end > len(p) || at+tcpHeader > end {
		return s, false
	}
	tcp := p[at:end]
	data := int(tcp[12]>>4) * 4
	if data < tcpHeader || data > len(tcp) {
		return s, false
	}
	address := func(ip, port []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip)), binary.BigEndian.Uint16(port))
	}
	return segment{from: address(p[12:16], tcp), to: address(p[16:20], tcp[2:]), seq: binary.BigEndian.Uint32(tcp[4:]),
		ack: binary.BigEndian.Uint32(tcp[8:]), flags: tcp[13], payload: append([]byte(nil), tcp[data:]...)}, true
}

func (s *segment) packet() []byte {
	p := make([]byte, ipHeader+tcpHeader, ipHeader+tcpHeader+len(s.payload))
	p = append(p, s.payload...)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], s.from.Addr().AsSlice())
	copy(p[16:], s.to.Addr().AsSlice())
	binary.BigEndian.PutUint16(p[10:], ^sum(0, p[:ipHeader]))
	tcp := p[ipHeader:]
	binary.BigEndian.PutUint16(tcp, s.from.Port())
	binary.BigEndian.PutUint16(tcp[2:], s.to.Port())
	binary.BigEndian.PutUint32(tcp[4:], s.seq)
	binary.BigEndian.PutUint32(tcp[8:], s.ack)
	tcp[12], tcp[13] = tcpHeader/4<<4, s.flags
	binary.BigEndian.PutUint16(tcp[14:], 1<<15) // window
	binary.BigEndian.PutUint16(tcp[16:], ^sum(sum(uint16(len(tcp))+unix.IPPROTO_TCP, p[12:20]), tcp))
	return p
}

// sum is the ones' complement sum of words.
func sum(start uint16, b []byte) uint16 {
	total := uint32(start)
	for i := 0; i < len(b); i += 2 {
		word := uint32(b[i]) << 8
		if i+1 < len(b) {
			word |= uint32(b[i+1])
		}
		total += word
	}
	for total>>16 != 0 {
		total = total>>16 + total&0xffff
	}
	return uint16(total)
}
