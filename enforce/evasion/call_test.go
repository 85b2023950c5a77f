package evasion

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest"
)

const (
	atConnect = "cgroup/connect4, connect6"
	atSendmsg = "cgroup/sendmsg4, sendmsg6"
	atEgress  = "cgroup_skb/egress: the packet's real destination"
)

// callAttempts are tricks with what a program asks of a socket.
func callAttempts() []attempt {
	return []attempt{
		{name: "connect", does: "TCP connect, IPv4 and IPv6", result: stopped, by: atConnect, short: true, act: func(p *place) error {
			return both(p, func(to, _ netip.AddrPort) error { return stream(to, func(fd int) error { return say(fd, to) }) })
		}},
		{name: "datagram", does: "UDP without connect, and connected", result: stopped, by: atSendmsg + "; connect", short: true, act: func(p *place) error {
			return both(p, func(to, _ netip.AddrPort) error {
				return each(func() error { return datagram(to, func(fd int) error { return sendto(fd, 0, to) }) },
					func() error { return datagram(to, func(fd int) error { return say(fd, to) }) })
			})
		}},
		{name: "fast-open", does: "TCP fast open: data with the SYN, by `MSG_FASTOPEN` and by `TCP_FASTOPEN_CONNECT`", result: stopped, by: atConnect, short: true, act: fastOpen},
		{name: "mapped", does: "IPv4 as `::ffff:a.b.c.d` on an IPv6 socket, TCP and UDP", result: stopped, by: atConnect + ", sendmsg6", act: mapped},
		{name: "other-family", does: "an IPv4 address given to an IPv6 socket, `AF_UNSPEC` as the family of a destination", result: stopped, by: atConnect + ", " + atSendmsg, act: otherFamily},
		{name: "reconnect", does: "connect to a permitted peer, disconnect by `AF_UNSPEC`, connect again", result: stopped, by: atConnect, short: true, act: reconnect},
		{name: "send-elsewhere", does: "UDP: connect to a permitted peer, `sendto` another", result: stopped, by: atSendmsg, act: func(p *place) error {
			return both(p, func(to, open netip.AddrPort) error {
				return datagram(to, func(fd int) error {
					if err := say(fd, open); err != nil {
						return errors.New(err.Error())
					}
					return sendto(fd, 0, to)
				})
			})
		}},
		{name: "many-messages", does: "`sendmmsg`: permitted peers first, the forbidden one among them", result: stopped, by: atSendmsg, act: manyMessages},
		{name: "cork", does: "UDP corking (`MSG_MORE`): begun for one peer, ended for another", result: stopped, by: atSendmsg, act: cork},
		{name: "segments", does: "UDP segmentation (`UDP_SEGMENT`) of one large send", result: stopped, by: atSendmsg, needs: []*bpftest.Feature{bpftest.UDPSegment()}, act: segments},
		{name: "splice", does: "`splice`, `vmsplice` and `sendfile` into a socket whose connect was refused", result: stopped, by: atConnect, act: spliced},
		{name: "source-trick", does: "other source addresses: bind, `IP_FREEBIND`, `IP_TRANSPARENT`, `SO_BINDTODEVICE`, `IP_PKTINFO`", result: stopped, by: atConnect + ", " + atSendmsg, act: sources},
		{name: "mark", does: "`SO_MARK` and a policy route for the mark", result: stopped, by: atConnect, act: marked},
		{name: "repair", does: "`TCP_REPAIR`: a connection made up without a handshake", result: stopped, bare: true, by: atConnect, act: repair},
		{name: "reuse", does: "`SO_REUSEADDR` and `SO_REUSEPORT`: the address pair of a connection that was permitted", result: stopped, by: atConnect, act: reuse},
		{name: "mptcp", does: "MPTCP: the first connection", result: stopped, by: atConnect, needs: []*bpftest.Feature{bpftest.MPTCP()}, act: func(p *place) error {
			return both(p, func(to, _ netip.AddrPort) error {
				return with(familyOf(to), unix.SOCK_STREAM, unix.IPPROTO_MPTCP, func(fd int) error { return say(fd, to) })
			})
		}},
	}
}

func fastOpen(p *place) error {
	return both(p, func(to, _ netip.AddrPort) error {
		return each(
			func() error { return stream(to, func(fd int) error { return sendto(fd, unix.MSG_FASTOPEN, to) }) },
			func() error {
				return stream(to, func(fd int) error {
					if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
						return err
					}
					return say(fd, to)
				})
			})
	})
}

func mapped(p *place) error {
	to := netip.AddrPortFrom(netip.AddrFrom16(p.V4.Addr().As16()), p.V4.Port())
	return each(
		func() error { return stream(to, func(fd int) error { return say(fd, to) }) },
		func() error { return datagram(to, func(fd int) error { return say(fd, to) }) },
		func() error { return datagram(to, func(fd int) error { return sendto(fd, 0, to) }) })
}

func otherFamily(p *place) error {
	v6 := func(f func(fd int) error) error { return with(unix.AF_INET6, unix.SOCK_DGRAM, 0, f) }
	v4 := func(f func(fd int) error) error { return with(unix.AF_INET, unix.SOCK_DGRAM, 0, f) }
	return each(
		func() error { return v6(func(fd int) error { return sendtoRaw(fd, rawAddress(unix.AF_INET, p.V4)) }) },
		func() error {
			return v6(func(fd int) error {
				if err := connectRaw(fd, rawAddress(unix.AF_INET, p.V4)); err != nil {
					return err
				}
				return write(fd)
			})
		},
		func() error { return v4(func(fd int) error { return sendtoRaw(fd, rawAddress(unix.AF_UNSPEC, p.V4)) }) })
}

func reconnect(p *place) error {
	return both(p, func(to, open netip.AddrPort) error {
		again := func(fd int) error {
			if err := errors.Join(unix.Connect(fd, sockaddr(open)), disconnect(fd)); err != nil {
				return errors.New(err.Error())
			}
			return say(fd, to)
		}
		return each(func() error { return stream(to, again) }, func() error { return datagram(to, again) })
	})
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	unix.Msghdr
	Len uint32
	_   [4]byte
}

func manyMessages(p *place) error {
	return datagram(p.V4, func(fd int) error {
		hdrs := make([]mmsghdr, 3)
		for i, to := range []netip.AddrPort{p.OpenV4, p.V4, p.OpenV4} {
			addr := rawAddress(unix.AF_INET, to)
			iov := unix.Iovec{Base: &payload[0], Len: payloadBytes}
			hdrs[i].Name, hdrs[i].Namelen = &addr[0], uint32(len(addr))
			hdrs[i].Iov, hdrs[i].Iovlen = &iov, 1
		}
		for at := 0; at < len(hdrs); {
			n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdrs[at])), uintptr(len(hdrs)-at), 0, 0, 0)
			if errno != 0 {
				return fmt.Errorf("sendmmsg: %w", errno)
			}
			at += int(n)
		}
		return nil
	})
}

func cork(p *place) error {
	return both(p, func(to, open netip.AddrPort) error {
		return each(
			func() error {
				return datagram(to, func(fd int) error {
					return errors.Join(sendto(fd, unix.MSG_MORE, to), sendto(fd, 0, open))
				})
			},
			func() error { // begun for the permitted one: must not end at the other
				return datagram(to, func(fd int) error {
					return errors.Join(sendto(fd, unix.MSG_MORE, open), unix.Connect(fd, sockaddr(to)), sendto(fd, 0, to))
				})
			})
	})
}

func segments(p *place) error {
	return both(p, func(to, _ netip.AddrPort) error {
		return datagram(to, func(fd int) error {
			if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, payloadBytes); err != nil {
				return err
			}
			large := make([]byte, 8*payloadBytes)
			return each(func() error { return unix.Sendto(fd, large, 0, sockaddr(to)) },
				func() error {
					if err := unix.Connect(fd, sockaddr(to)); err != nil {
						return err
					}
					_, err := unix.Write(fd, large)
					return err
				})
		})
	})
}

// spliced goes on after a refused connect.
func spliced(p *place) error {
	into := func(kind int, pour func(fd int) error) func() error {
		return func() error {
			return with(unix.AF_INET, kind, 0, func(fd int) error { return errors.Join(unix.Connect(fd, sockaddr(p.V4)), pour(fd)) })
		}
	}
	return each(into(unix.SOCK_STREAM, vmspliceInto), into(unix.SOCK_DGRAM, vmspliceInto),
		into(unix.SOCK_STREAM, sendfileInto), into(unix.SOCK_DGRAM, sendfileInto))
}

func vmspliceInto(fd int) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	iov := []unix.Iovec{{Base: &payload[0], Len: payloadBytes}}
	if _, err := unix.Vmsplice(pipe[1], iov, 0); err != nil {
		return fmt.Errorf("vmsplice: %w", err)
	}
	if _, err := unix.Splice(pipe[0], nil, fd, nil, payloadBytes, 0); err != nil {
		return fmt.Errorf("splice: %w", err)
	}
	return nil
}

func sendfileInto(fd int) error {
	file, err := unix.MemfdCreate("payload", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(file)
	if _, err := unix.Write(file, payload); err != nil {
		return err
	}
	var at int64
	if _, err := unix.Sendfile(fd, file, &at, payloadBytes); err != nil {
		return fmt.Errorf("sendfile: %w", err)
	}
	return nil
}
