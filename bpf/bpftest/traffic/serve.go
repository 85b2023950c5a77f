package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"snitch/bpf/bpftest/report"
)

// service is one address of the peer: `PROTO ADDRESS [key=value…]`.
type service struct {
	proto   string
	addr    netip.AddrPort
	where   string // what stands in the address's place for services without one
	options map[string]string
}

func parseService(s string) (service, error) {
	fields := strings.Fields(s)
	if len(fields) < 2 {
		return service{}, fmt.Errorf("service %q: want PROTO ADDRESS [key=value…]", s)
	}
	sv := service{proto: fields[0], where: fields[1], options: make(map[string]string)}
	for _, o := range fields[2:] {
		k, v, _ := strings.Cut(o, "=")
		sv.options[k] = v
	}
	if addr, err := netip.ParseAddrPort(sv.where); err == nil {
		sv.addr = addr
	} else if _, ip := protocols[sv.proto]; ip {
		return sv, fmt.Errorf("service %q: %w", s, err)
	}
	return sv, nil
}

func (sv *service) option(key, otherwise string) string {
	if v, ok := sv.options[key]; ok {
		return v
	}
	return otherwise
}

// books is the peer's account of its flows. Safe for concurrent use.
type books struct {
	mu    sync.Mutex
	flows []report.Flow
	errs  []error
}

func (b *books) add(err error, flows ...report.Flow) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flows = append(b.flows, flows...)
	if err != nil {
		b.errs = append(b.errs, err)
	}
}

// running is a service that has its socket: serve returns when stop is set
// and nothing is waiting any more.
type running interface {
	serve(stop *atomic.Bool, b *books)
	io.Closer
}

func runServe(args []string) error {
	var services []service
	f := flags("serve")
	f.Func("on", "a service; may be given often", func(s string) error {
		sv, err := parseService(s)
		services = append(services, sv)
		return err
	})
	ready := f.Int("ready", -1, "descriptor to write `ready` to")
	return reported("serve", func(r *report.Report) error {
		if err := f.Parse(args); err != nil {
			return err
		}
		return serveAll(services, *ready, r)
	})
}

func serveAll(services []service, ready int, r *report.Report) error {
	var all []running
	for i := range services {
		s, err := startService(&services[i])
		if err != nil {
			return fmt.Errorf("start %s %s: %w", services[i].proto, services[i].where, err)
		}
		defer s.Close()
		all = append(all, s)
	}
	var stop atomic.Bool
	var b books
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() { s.serve(&stop, &b) })
	}
	if err := announce(ready); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	stop.Store(true)
	wg.Wait()
	r.Flows = append(r.Flows, b.flows...)
	return errors.Join(append(b.errs, err)...)
}

func announce(fd int) error {
	if fd < 0 {
		return nil
	}
	if _, err := unix.Write(fd, []byte("ready\n")); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	return unix.Close(fd)
}

func startService(sv *service) (running, error) {
	switch sv.proto {
	case "tcp", "mptcp", "sctp":
		return listenStream(sv)
	case "udp", "udplite":
		return listenDatagram(sv)
	case "sctp-many":
		return listenSCTP(sv)
	case "raw":
		return listenRaw(sv)
	case "packet":
		return listenPacket(sv)
	}
	return nil, fmt.Errorf("unknown service %q", sv.proto)
}

const pollEvery = 20 * time.Millisecond

// readable waits until there is something to read; false means that stop was
// set and there still is nothing.
func readable(fd int, stop *atomic.Bool) bool {
	for {
		stopping := stop.Load()
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(set, int(pollEvery.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false
		}
		if n > 0 {
			return true
		}
		if stopping && err == nil {
			return false
		}
	}
}

// streamService accepts connections and answers each on a thread of its own.
type streamService struct {
	*service
	fd int
}

func listenStream(sv *service) (running, error) {
	fd, err := openSocket(family(sv.addr.Addr()), sv.proto)
	if err != nil {
		return nil, err
	}
	s := &streamService{service: sv, fd: fd}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *streamService) listen() error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if s.option("fastopen", "") != "" {
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 64); err != nil {
			return fmt.Errorf("set TCP_FASTOPEN: %w", err)
		}
	}
	if err := unix.Bind(s.fd, sockaddr(family(s.addr.Addr()), s.addr)); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(s.fd, 4096); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}

func (s *streamService) Close() error { return unix.Close(s.fd) }

func (s *streamService) serve(stop *atomic.Bool, b *books) {
	b.add(nil, report.Flow{Proto: s.proto, Family: familyName(family(s.addr.Addr())), Direction: "listen",
		LAddr: s.addr.Addr().String(), LPort: s.addr.Port(), NetNS: socketNamespace(s.fd), Result: "listening|closed"})
	var wg sync.WaitGroup
	defer wg.Wait()
	for readable(s.fd, stop) {
		fd, sa, err := unix.Accept4(s.fd, unix.SOCK_CLOEXEC)
		if err != nil {
			b.add(fmt.Errorf("accept: %w", err))
			return
		}
		wg.Go(func() {
			flow, err := s.handle(fd, addrPort(sa))
			b.add(errors.Join(err, unix.Close(fd)), flow)
		})
	}
}

func (s *streamService) handle(fd int, from netip.AddrPort) (report.Flow, error) {
	flow := accepted(s.proto, fd, from)
	out, err := newSender(s.option("send", "write"))
	if err != nil {
		return flow, err
	}
	defer out.Close()
	way := s.option("recv", "read")
	in, err := newReceiver(way)
	if err != nil {
		return flow, err
	}
	err = answerStream(out, in, way == "trunc", fd, &flow)
	return flow, errors.Join(err, in.Close())
}

func accepted(proto string, fd int, from netip.AddrPort) report.Flow {
	at := local(fd)
	// A listener of MPTCP accepts plain TCP as plain TCP.
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil && n == unix.IPPROTO_TCP {
		proto = "tcp"
	}
	return report.Flow{Proto: proto, Family: familyName(family(from.Addr())), Direction: "in", Result: "closed",
		LAddr: at.Addr().String(), LPort: at.Port(), RAddr: from.Addr().String(), RPort: from.Port(), NetNS: socketNamespace(fd)}
}
