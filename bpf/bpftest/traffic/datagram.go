package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

func datagramGenerators() []generator {
	return []generator{
		{"datagram", "send datagrams and read the echo of each, connected or not", runDatagram},
		{"threads", "one socket, many peers, several threads", runThreads},
		{"segments", "UDP_SEGMENT: one call, many datagrams, no echo", runSegments},
		{"scatter", "one socket, each datagram to another peer on loopback that does not listen", runScatter},
		{"send-only", "datagrams to a group or to everybody on the link, no echo", runSendOnly},
	}
}

// datagrams is a client of datagram services.
type datagrams struct {
	proto     string
	to        []netip.AddrPort
	six       bool
	connected bool
	sendWay   string
	recvWay   string
	count     int // to each peer
	size      int
	room      int // of the buffer for the echo, 0 for enough
}

func (d *datagrams) flags(f *flag.FlagSet) {
	f.StringVar(&d.proto, "proto", "udp", "udp or udplite")
	f.Func("to", "address of an echo service; may be given often", func(s string) error {
		a, err := parseAddr(s)
		d.to = append(d.to, a)
		return err
	})
	f.BoolVar(&d.six, "six", false, "use an IPv6 socket also for an IPv4 address")
	f.BoolVar(&d.connected, "connect", false, "connect the socket")
	f.StringVar(&d.sendWay, "send", "sendto", "way to send")
	f.StringVar(&d.recvWay, "recv", "recvfrom", "way to receive")
	f.IntVar(&d.count, "count", 20, "datagrams to each peer")
	f.IntVar(&d.size, "size", 100, "bytes of the smallest; each is one longer than the last; 0 is all empty")
	f.IntVar(&d.room, "room", 0, "room for the echo in bytes, to truncate it")
}

func runDatagram(args []string) error {
	var d datagrams
	f := flags("datagram")
	d.flags(f)
	return reported("datagram", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := d.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		r.Flows, err = d.exchange(fd)
		return err
	})
}

func (d *datagrams) domain() int {
	if d.six {
		return unix.AF_INET6
	}
	return family(d.to[0].Addr())
}

func (d *datagrams) open() (int, error) {
	if len(d.to) == 0 {
		return -1, errors.New("no address to send to")
	}
	fd, err := openSocket(d.domain(), d.proto)
	if err != nil || !d.connected {
		return fd, err
	}
	if err := unix.Connect(fd, sockaddr(d.domain(), d.to[0])); err != nil {
		return -1, errors.Join(fmt.Errorf("connect: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func (d *datagrams) bytes(i int) int {
	if d.size == 0 {
		return 0
	}
	return d.size + i
}

// exchange goes in lock step: an echo is awaited before the next datagram, so
// that no queue can overflow.
func (d *datagrams) exchange(fd int) ([]report.Flow, error) {
	out, in, err := d.ways()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	defer in.Close()
	flows := make([]report.Flow, len(d.to))
	for i, to := range d.to {
		flows[i] = d.flow(fd, to)
	}
	p := make([]byte, 64<<10)
	for i := range d.count {
		for k, to := range d.to {
			n := d.bytes(i)
			fill(p[:n], fromClient, 0)
			if err := out.sendDatagram(fd, p[:n], to); err != nil {
				return flows, fmt.Errorf("send to %s: %w", to, err)
			}
			flows[k].Sent += uint64(n)
			flows[k].Packets += 2 // this one and its echo
			got, err := d.echo(in, fd, p, n)
			if err != nil {
				return flows, err
			}
			flows[k].Received += uint64(got)
		}
	}
	at := local(fd)
	for i := range flows {
		flows[i].LPort = at.Port()
		if d.connected {
			flows[i].LAddr = at.Addr().String()
		}
	}
	return flows, nil
}

func (d *datagrams) echo(in datagramReceiver, fd int, p []byte, n int) (int, error) {
	room := p
	if d.room > 0 {
		room = p[:d.room]
	}
	clear(room[:min(len(room), n)])
	got, err := in.recvDatagram(fd, room)
	if err != nil {
		return 0, fmt.Errorf("receive echo: %w", err)
	}
	if want := min(n, len(room)); got != want {
		return 0, fmt.Errorf("echo has %d bytes, want %d", got, want)
	}
	return got, check(p[:got], fromClient, 0)
}

func (d *datagrams) flow(fd int, to netip.AddrPort) report.Flow {
	fl := report.Flow{Proto: d.proto, Family: familyName(family(to.Addr())), Direction: "out",
		RAddr: to.Addr().String(), RPort: to.Port(), NetNS: socketNamespace(fd), Result: "established|closed"}
	if d.six && to.Addr().Is4() {
		fl.Family = ""
	}
	return fl
}

// runThreads has several threads send to all peers over one socket at once;
// whoever reads an echo books it for the peer it came from.
func runThreads(args []string) error {
	var d datagrams
	f := flags("threads")
	d.flags(f)
	threads := f.Int("threads", 4, "threads")
	return reported("threads", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := d.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		r.Flows, err = d.parallel(fd, *threads)
		return err
	})
}

func (d *datagrams) parallel(fd, threads int) ([]report.Flow, error) {
	var mu sync.Mutex
	sums := make(map[netip.AddrPort]*report.Flow)
	for _, to := range d.to {
		fl := d.flow(fd, to)
		sums[to] = &fl
	}
	errs := make([]error, threads)
	var wg sync.WaitGroup
	for t := range threads {
		wg.Go(func() {
			errs[t] = d.oneThread(fd, t, func(peer netip.AddrPort, sent, received int) error {
				mu.Lock()
				defer mu.Unlock()
				fl := sums[peer]
				if fl == nil {
					return fmt.Errorf("echo from %s, which is no peer", peer)
				}
				fl.Sent += uint64(sent)
				fl.Received += uint64(received)
				fl.Packets++
				return nil
			})
		})
	}
	wg.Wait()
	var flows []report.Flow
	for _, to := range d.to {
		sums[to].LPort = local(fd).Port()
		flows = append(flows, *sums[to])
	}
	return flows, errors.Join(errs...)
}

func (d *datagrams) oneThread(fd, t int, book func(peer netip.AddrPort, sent, received int) error) error {
	p := make([]byte, 4096)
	for i := range d.count {
		for k := range d.to {
			to := d.to[(k+t*2)%len(d.to)] // threads are at different peers at any time
			n := d.bytes(i) + 37*t
			fill(p[:n], fromClient, 0)
			if err := unix.Sendto(fd, p[:n], 0, sockaddr(d.domain(), to)); err != nil {
				return fmt.Errorf("send to %s: %w", to, err)
			}
			if err := book(to, n, 0); err != nil {
				return err
			}
			got, from, err := unix.Recvfrom(fd, p, 0)
			if err != nil {
				return fmt.Errorf("receive echo: %w", err)
			}
			if err := errors.Join(check(p[:got], fromClient, 0), book(addrPort(from), 0, got)); err != nil {
				return err
			}
		}
	}
	return nil
}

func runSegments(args []string) error {
	var d datagrams
	f := flags("segments")
	d.flags(f)
	segment := f.Int("segment", 1000, "bytes of a datagram")
	calls := f.Int("calls", 5, "send calls")
	return reported("segments", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := d.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, *segment); err != nil {
			return fmt.Errorf("set UDP_SEGMENT: %w", err)
		}
		flow := d.flow(fd, d.to[0])
		p := make([]byte, *segment*d.count)
		for i := range d.count {
			fill(p[i**segment:(i+1)**segment], fromClient, 0)
		}
		for range *calls {
			if err := unix.Sendto(fd, p, 0, sockaddr(d.domain(), d.to[0])); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			flow.Sent += uint64(len(p))
		}
		flow.LPort = local(fd).Port()
		r.Flows = append(r.Flows, flow)
		return nil
	})
}

func runSendOnly(args []string) error {
	var d datagrams
	f := flags("send-only")
	d.flags(f)
	var from netip.Addr
	f.TextVar(&from, "from", netip.Addr{}, "address of the link to send from")
	return reported("send-only", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := d.open()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1), bindMulticast(fd, from)); err != nil {
			return fmt.Errorf("allow groups: %w", err)
		}
		flow := d.flow(fd, d.to[0])
		p := make([]byte, 2048)
		for i := range d.count {
			n := d.bytes(i)
			fill(p[:n], fromClient, 0)
			if err := unix.Sendto(fd, p[:n], 0, sockaddr(d.domain(), d.to[0])); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			flow.Sent += uint64(n)
			flow.Packets++
		}
		flow.LPort = local(fd).Port()
		r.Flows = append(r.Flows, flow)
		return nil
	})
}

func bindMulticast(fd int, from netip.Addr) error {
	if !from.Is4() {
		return nil
	}
	return unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, from.As4())
}

// runScatter makes as many flows as it sends datagrams, faster than anybody
// can look.
func runScatter(args []string) error {
	f := flags("scatter")
	count := f.Int("count", 5000, "peers")
	size := f.Int("size", 10, "bytes of a datagram")
	return reported("scatter", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		fd, err := openSocket(unix.AF_INET, "udp")
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		flow := report.Flow{Proto: "udp", Family: "ipv4", Direction: "out", NetNS: socketNamespace(fd), Result: "established|closed"}
		p := make([]byte, *size)
		for i := range *count {
			to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i >> 14), 1}), uint16(0x8000|i&0x3fff))
			if err := unix.Sendto(fd, p, 0, sockaddr(unix.AF_INET, to)); err != nil {
				return fmt.Errorf("send to %s: %w", to, err)
			}
			flow.Sent += uint64(len(p))
			flow.Packets++
			flow.Rows++
		}
		r.Flows = append(r.Flows, flow)
		return nil
	})
}
