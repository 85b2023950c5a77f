package cut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"snitch/enforce/netns"
)

// ErrNotSupported says that this kernel destroys no sockets.
var ErrNotSupported = errors.New("missing feature: SOCK_DESTROY (CONFIG_INET_DIAG_DESTROY, and CONFIG_INET_UDP_DIAG for UDP)")

// Flow names one socket. Of an unconnected UDP socket Remote is the unspecified
// address of the family of Local, and port 0.
type Flow struct {
	Proto         uint8 // IPPROTO_TCP or IPPROTO_UDP
	Local, Remote netip.AddrPort
	Cookie        uint64 // of the socket, as the kernel's programs see it; 0: any
	Interface     uint32 // index of the one that it is bound to; 0: none
}

// Result is what became of flows.
type Result struct {
	Cut  int // destroyed
	Gone int // there was no such socket any more, or the kernel lists none of its protocol
}

// Cutter destroys sockets of one network namespace. It is for one goroutine.
type Cutter struct {
	fd  int
	seq uint32
	buf []byte
}

const (
	destroy = 21 // SOCK_DESTROY
	// atOnce is how many requests go to the kernel in one call. It answers each
	// before the call returns, so the answers must fit the receive buffer.
	atOnce   = 128
	received = 1 << 20 // bytes, the least receive buffer
	// answerTime is a bound for what the kernel does before send returns.
	answerTime = 5 * time.Second

	headerLen  = unix.SizeofNlMsghdr
	sockIDLen  = 48
	requestLen = headerLen + 8 + sockIDLen
)

// Open makes a Cutter for the network namespace of an open descriptor, or
// 0 for the present one. The caller closes it.
func Open(namespace int) (*Cutter, error) {
	var c *Cutter
	open := func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
		if err != nil {
			return fmt.Errorf("open sock_diag: %w", err)
		}
		patience := unix.NsecToTimeval(answerTime.Nanoseconds())
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, received),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience))
		if err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("prepare socket of sock_diag: %w", err)
		}
		c = &Cutter{fd: fd, buf: make([]byte, 64<<10)}
		return nil
	}
	err := netns.Do(namespace, open)
	return c, err
}

// Close gives the descriptor back.
func (c *Cutter) Close() error {
	if err := unix.Close(c.fd); err != nil {
		return fmt.Errorf("close sock_diag: %w", err)
	}
	return nil
}

// Cut destroys flows. What it could not destroy for another reason than that it
// is gone is in the error, with how many and the first of them.
func (c *Cutter) Cut(flows []Flow) (Result, error) {
	var total Result
	var failed int
	var first error
	for len(flows) > 0 {
		n := min(len(flows), atOnce)
		if err := c.send(flows[:n]); err != nil {
			return total, err
		}
		err := c.answers(flows[:n], func(f *Flow, errno unix.Errno) {
			switch errno {
			case 0:
				total.Cut++
			case unix.ENOENT, unix.ESTALE:
				total.Gone++
			case unix.EOPNOTSUPP:
				failed, first = failed+1, ErrNotSupported
			default:
				if failed++; first == nil {
					first = fmt.Errorf("destroy socket %s of %s: %w", f.Local, f.Remote, errno)
				}
			}
		})
		if err != nil {
			return total, err
		}
		flows = flows[n:]
	}
	if first != nil {
		return total, fmt.Errorf("cut %d flows: %w", failed, first)
	}
	return total, nil
}

// send asks for all flows in one call. Requests are numbered on from c.seq.
func (c *Cutter) send(flows []Flow) error {
	out := make([]byte, 0, requestLen*len(flows))
	for i := range flows {
		out = appendRequest(out, &flows[i], c.seq+uint32(i))
	}
	if err := unix.Sendto(c.fd, out, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask to destroy sockets: %w", err)
	}
	return nil
}

// appendRequest writes struct nlmsghdr and struct inet_diag_req_v2.
func appendRequest(to []byte, f *Flow, seq uint32) []byte {
	to = binary.NativeEndian.AppendUint32(to, requestLen)
	to = binary.NativeEndian.AppendUint16(to, destroy)
	to = binary.NativeEndian.AppendUint16(to, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	to = binary.NativeEndian.AppendUint32(to, seq)
	to = binary.NativeEndian.AppendUint32(to, 0)
	family := byte(unix.AF_INET6)
	// A socket of IPv6 that speaks IPv4 is found by its IPv4 addresses.
	local, remote := f.Local.Addr().Unmap(), f.Remote.Addr().Unmap()
	if local.Is4() {
		family = unix.AF_INET
	}
	to = append(to, family, f.Proto, 0, 0)
	to = binary.NativeEndian.AppendUint32(to, ^uint32(0)) // in any state
	to = binary.BigEndian.AppendUint16(to, f.Local.Port())
	to = binary.BigEndian.AppendUint16(to, f.Remote.Port())
	to = appendAddr(to, local)
	to = appendAddr(to, remote)
	to = binary.NativeEndian.AppendUint32(to, f.Interface)
	cookie := f.Cookie
	if cookie == 0 {
		cookie = ^uint64(0) // INET_DIAG_NOCOOKIE
	}
	to = binary.NativeEndian.AppendUint32(to, uint32(cookie))
	return binary.NativeEndian.AppendUint32(to, uint32(cookie>>32))
}

func appendAddr(to []byte, a netip.Addr) []byte {
	n := len(to)
	to = append(to, a.AsSlice()...)
	return append(to, make([]byte, n+16-len(to))...)
}

// answers reads one answer for each flow.
func (c *Cutter) answers(flows []Flow, each func(*Flow, unix.Errno)) error {
	for left := len(flows); left > 0; {
		n, from, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read answers of sock_diag: %w", err)
		}
		if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != 0 {
			continue // not the kernel
		}
		for b := c.buf[:n]; len(b) >= headerLen+4; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < headerLen+4 || size > len(b) {
				return fmt.Errorf("read answers of sock_diag: a message of %d bytes in %d", size, len(b))
			}
			index := binary.NativeEndian.Uint32(b[8:]) - c.seq
			if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR && index < uint32(len(flows)) {
				each(&flows[index], unix.Errno(-int32(binary.NativeEndian.Uint32(b[headerLen:]))))
				left--
			}
			b = b[min(len(b), (size+3)&^3):]
		}
	}
	c.seq += uint32(len(flows))
	return nil
}
